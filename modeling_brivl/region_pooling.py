"""Pooling of a feature map over boxes, for a whole batch in one matrix product.

The sampling grid of a box is separable, so the mean over its bilinear samples is `weights_y . feature_map . weights_x`
with one weight vector per axis and box; averaging commutes with the 1x1 convolution that the original applies first.
"""

import torch
from torch import Tensor


def grid_boxes(image_size: int, scales: tuple[int, ...] | list[int], device: torch.device | None = None) -> Tensor:
    """Return the cells of an s x s grid for every s in `scales`, x as the outer loop: (n, 4), x1 y1 x2 y2 in pixels.

    `scales=(6, 1)` gives the 36 cells + whole image of the released grid checkpoint.
    """
    boxes = []
    for scale in scales:
        edges = torch.linspace(0, image_size, scale + 1, device=device)
        x, y = torch.meshgrid(torch.arange(scale, device=device), torch.arange(scale, device=device), indexing="ij")
        x, y = x.flatten(), y.flatten()
        boxes.append(torch.stack([edges[x], edges[y], edges[x + 1], edges[y + 1]], dim=1))
    return torch.cat(boxes)


def pool_regions(
    feature_map: Tensor, boxes_xyxy: Tensor, *, image_size: int, num_samples: int = 4, stretch_boxes: bool = True
) -> Tensor:
    """Return the mean of num_samples x num_samples bilinear samples in every box: (b, n, c).

    Args:
        feature_map: (b, c, h, w).
        boxes_xyxy: (b, n, 4) in pixels of the resized square image.
        image_size: its side in pixels.
        stretch_boxes: True reproduces the original, whose boxes are stretched by W / (W - 1) about the origin and read
            zero outside the map; False samples where the box is, clamped to the border.

    Raises:
        ValueError: for a feature map of one cell with `stretch_boxes`, which the original divides by zero on.
    """
    height, width = feature_map.shape[-2:]
    if stretch_boxes and min(height, width) < 2:
        raise ValueError(
            f"The feature map is {height}x{width}: the original's box mapping needs at least 2x2 cells. "
            "Use a larger image_size or stretch_boxes=False."
        )
    boxes = boxes_xyxy.float() * (height / image_size)
    x1, y1, x2, y2 = boxes.unbind(-1)
    weights_x = _axis_weights(x1, x2, width, num_samples, stretch_boxes)
    weights_y = _axis_weights(y1, y2, height, num_samples, stretch_boxes)
    weights = (weights_y.unsqueeze(-1) * weights_x.unsqueeze(-2)).flatten(2)  # (b, n, h*w)
    # In this order: the gradient of `weights @ map` reaches the map with strides for which the backward pass of a batch
    # norm in evaluation mode is wrong for a batch of one (torch 2.14, CPU).
    return (feature_map.flatten(2) @ weights.to(feature_map.dtype).transpose(1, 2)).transpose(1, 2)


def _axis_weights(low: Tensor, high: Tensor, cells: int, num_samples: int, stretch: bool) -> Tensor:
    """Return the weight of every cell along one axis, averaged over the samples: (b, n, cells)."""
    offsets = (2 * torch.arange(num_samples, device=low.device) + 1) / num_samples - 1
    positions = ((high - low).unsqueeze(-1) * offsets + (low + high).unsqueeze(-1)) / 2
    if stretch:
        positions = positions * (cells / (cells - 1)) - 0.5
    else:
        positions = (positions - 0.5).clamp(0, cells - 1)
    distance = positions.unsqueeze(-1) - torch.arange(cells, device=low.device)
    return (1 - distance.abs()).clamp(min=0).mean(dim=-2)


__all__ = ["grid_boxes", "pool_regions"]
