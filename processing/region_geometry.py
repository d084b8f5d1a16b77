"""Where a region lies, in the seven numbers that MLMM reads."""

import torch
from torch import Tensor

MARGIN = 1e-3  # by which a rounded box may leave its picture
BOX_DIM = 7


def normalize_boxes(boxes: Tensor, *, height: int | None = None, width: int | None = None) -> Tensor:
    """Returns (n, 7) float32: x1, y1, x2, y2, width, height, area, all relative to the picture. Source: UC2, UNITER.

    Args:
        boxes: (n, 4) x1, y1, x2, y2, in pixels of the picture; without its size: shares of it.
        height, width: of the picture in pixels.

    Raises:
        ValueError: a side of the picture is below 1, a box holds NaN, has negative width or height, or leaves the
            picture, as boxes in pixels do where no size is given.
    """
    boxes = boxes.float().reshape(-1, 4)
    if height is not None and width is not None:
        if height < 1 or width < 1:
            raise ValueError(f"The picture is {height} high and {width} wide; both must be 1 or more.")
        boxes = boxes / boxes.new_tensor([width, height, width, height])
    sides = boxes[:, 2:] - boxes[:, :2]
    if len(boxes) and not (boxes.min() >= -MARGIN and boxes.max() <= 1 + MARGIN and sides.min() >= 0):
        raise ValueError(_what_is_wrong(boxes, sides, height, width))
    return torch.cat([boxes, sides, sides.prod(dim=1, keepdim=True)], dim=1)


def _what_is_wrong(boxes: Tensor, sides: Tensor, height: int | None, width: int | None) -> str:
    if not boxes.isfinite().all():
        return "A box holds NaN or infinity."
    outside = ((boxes < -MARGIN) | (boxes > 1 + MARGIN)).any(dim=1)
    if outside.any():
        row = int(outside.nonzero()[0])
        size = "no size of the picture is known" if height is None or width is None else f"it is {height} x {width}"
        return f"Box {row} reaches out of the picture ({boxes[row].tolist()} of it); {size}."
    row = int((sides < 0).any(dim=1).nonzero()[0])
    return f"Box {row} has negative width or height: {boxes[row].tolist()} must be x1, y1, x2, y2."


__all__ = ["BOX_DIM", "normalize_boxes"]
