"""Images at the size the detectors were trained for, resized as their authors did.

*As OpenCV* (caffe, bottom-up attention): bilinear on floats without smoothing, one scale for both axes, also where the
rounded size is not exactly that much larger. *As Pillow* (detectron2): bilinear on uint8 with smoothing.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def resize_like_opencv(
    image: Tensor, shortest: int, longest: int, *, to_floats: Callable[[Tensor], Tensor]
) -> tuple[Tensor, tuple[float, float]]:
    """Return the image with its shorter side `shortest`, or less if its longer side would pass `longest`.

    Args:
        image: (C, h, w) of any type.
        shortest, longest: pixels.
        to_floats: what is done to the pixels before they are interpolated: the original subtracts the mean there.

    Returns:
        The image (C, H, W), at least 1 pixel a side; the scales of y and x, the same unless a side would vanish.

    Source: spec of the region features, section 2; equal to OpenCV with fx = fy = scale within 2e-5.
    """
    height, width = image.shape[-2:]
    scale = shortest / min(height, width)
    if round(scale * max(height, width)) > longest:
        scale = longest / max(height, width)
    # A side that rounds to nothing keeps one pixel and its own scale.
    scale_y, scale_x = (scale if round(side * scale) else 1 / side for side in (height, width))
    top, bottom, down = _neighbours(height, scale_y, image.device)
    left, right, across = _neighbours(width, scale_x, image.device)
    # Four images of the new size: a large one is never copied as floats.
    corners = [
        image.index_select(1, rows).index_select(2, columns) for rows in (top, bottom) for columns in (left, right)
    ]
    upper_left, upper_right, lower_left, lower_right = map(to_floats, corners)
    upper, lower = upper_left.lerp(upper_right, across), lower_left.lerp(lower_right, across)
    return upper.lerp(lower, down[:, None]), (scale_y, scale_x)


def _neighbours(side: int, scale: float, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return, for each pixel of the resized side, the two pixels it lies between and its fraction of the second."""
    count = round(side * scale)  # half to even, as OpenCV rounds
    # A step is 1 / scale, not side / count; float32 would be off by 1e-5 of a pixel, and the colours by up to 1e-3.
    positions = (torch.arange(count, dtype=torch.float64, device=device) + 0.5) / scale - 0.5
    positions = positions.clamp(0, side - 1)
    near = positions.floor().long()
    return near, (near + 1).clamp(max=side - 1), (positions - near).float()


def resize_like_pillow(
    image: Tensor, shortest: int, longest: int, *, resample: int
) -> tuple[Tensor, tuple[float, float]]:
    """Return the image with its shorter side `shortest`, or less if its longer side would pass `longest`.

    Args:
        image: (3, h, w) uint8, or with 1 or 4 channels.
        shortest, longest: pixels.
        resample: Pillow's filter.

    Returns:
        The image (c, H, W) uint8, at least 1 pixel a side; the scales H / h and W / w.

    Source: spec of the region features, section 2; the same bits as detectron2's.
    """
    height, width = image.shape[-2:]
    scale = shortest / min(height, width)
    # In this order, also where it could be shortened: the rounding of the floats decides about a pixel.
    sides = [float(shortest) if side == min(height, width) else scale * side for side in (height, width)]
    if max(sides) > longest:
        sides = [side * (longest / max(sides)) for side in sides]
    new_height, new_width = (max(math.floor(side + 0.5), 1) for side in sides)
    pixels = image.permute(1, 2, 0).cpu().numpy()
    resized_image = Image.fromarray(pixels if len(image) > 1 else pixels[..., 0]).resize(
        (new_width, new_height), resample
    )
    resized = torch.from_numpy(np.array(resized_image)).view(new_height, new_width, -1)
    resized = resized.permute(2, 0, 1).contiguous().to(image.device)
    return resized, (new_height / height, new_width / width)


__all__ = ["resize_like_opencv", "resize_like_pillow"]
