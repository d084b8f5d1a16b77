"""The boxes that the region proposal network starts from.

Source: spec of the region features, section 4 (caffe's table) and detectron2's anchor generator (offset 0).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .configuration_region_detector import RegionDetectorConfig

CAFFE_BASE_SIZE = 16


def caffe_cell_anchors(scales: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """Returns the (A, 4) rounded table of caffe, ratios outside, scales inside, about the centre (7.5, 7.5)."""
    centre = (CAFFE_BASE_SIZE - 1) / 2
    anchors = []
    for ratio in ratios:
        width = round(math.sqrt(CAFFE_BASE_SIZE**2 / ratio))
        height = round(width * ratio)
        for scale in scales:
            half_width, half_height = (width * scale - 1) / 2, (height * scale - 1) / 2
            anchors.append([centre - half_width, centre - half_height, centre + half_width, centre + half_height])
    return torch.tensor(anchors)


def detectron2_cell_anchors(sizes: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """Returns the (A, 4) anchors of size x size px, sizes outside, ratios (height / width) inside, about (0, 0)."""
    anchors = []
    for size in sizes:
        for ratio in ratios:
            width = math.sqrt(size**2 / ratio)
            height = ratio * width
            anchors.append([-width / 2, -height / 2, width / 2, height / 2])
    return torch.tensor(anchors)


def build_cell_anchors(config: RegionDetectorConfig) -> list[Tensor]:
    """Returns one (A, 4) tensor a level: the anchors of the top left cell, in pixels of the picture."""
    if config.cell_anchors is not None:
        return [torch.tensor(level, dtype=torch.float32) for level in config.cell_anchors]
    build = caffe_cell_anchors if config.anchor_style == "caffe" else detectron2_cell_anchors
    return [build(sizes, config.anchor_ratios) for sizes in config.anchor_sizes]


def grid_anchors(cell_anchors: Tensor, height: int, width: int, stride: int) -> Tensor:
    """Returns the (height * width * A, 4) anchors of a feature map, in the order (y, x, anchor).

    Args:
        cell_anchors: (A, 4) of the top left cell.
        height, width: of the feature map.
        stride: pixels of the picture from cell to cell.
    """
    y = torch.arange(height, device=cell_anchors.device) * stride
    x = torch.arange(width, device=cell_anchors.device) * stride
    y, x = torch.meshgrid(y, x, indexing="ij")
    shifts = torch.stack([x, y, x, y], dim=-1).reshape(-1, 1, 4)
    return (shifts + cell_anchors).reshape(-1, 4)


__all__ = ["build_cell_anchors", "caffe_cell_anchors", "detectron2_cell_anchors", "grid_anchors"]
