"""The region proposal network and its anchors: boxes of no class yet.

Source: spec of the region features, section 4 (caffe's anchors, and its order: clip, filter, then top-k), and
detectron2's RPN and anchor generator (offset 0).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .boxes import clip_boxes, decode_boxes, nms
from .configuration_region_detector import RegionDetectorConfig

RPN_BOX_WEIGHTS = (1.0, 1.0, 1.0, 1.0)


class RPNHead(nn.Module):
    """A 3x3 convolution, then objectness and deltas of each anchor of each cell; one head for all levels."""

    def __init__(self, config: RegionDetectorConfig, in_channels: int, num_anchors: int):
        super().__init__()
        width = config.rpn_channels or in_channels
        self.softmax = config.objectness == "softmax"
        self.conv = nn.Conv2d(in_channels, width, 3, padding=1)
        self.objectness_logits = nn.Conv2d(width, num_anchors * (2 if self.softmax else 1), 1)
        self.anchor_deltas = nn.Conv2d(width, num_anchors * 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return objectness (B, H * W * A), object minus background, and deltas (B, H * W * A, 4), both float32."""
        x = F.relu_(self.conv(x))
        objectness, deltas = self.objectness_logits(x).float(), self.anchor_deltas(x).float()
        if self.softmax:  # of two channels: the sigmoid of their difference
            background, foreground = objectness.chunk(2, dim=1)
            objectness = foreground - background
        deltas = deltas.unflatten(1, (-1, 4))  # (B, A, 4, H, W)
        return objectness.permute(0, 2, 3, 1).flatten(1), deltas.permute(0, 3, 4, 1, 2).flatten(1, 3)


class RegionProposalNetwork(nn.Module):
    """Scores and moves anchors, and keeps the best that do not overlap."""

    def __init__(self, config: RegionDetectorConfig, strides: list[int], channels: list[int]):
        super().__init__()
        self.config = config
        self.strides = strides
        self.num_anchors = [len(level) for level in build_cell_anchors(config)]
        self.rpn_head = RPNHead(config, channels[-1], self.num_anchors[-1])

    def anchors(self, maps: list[Tensor]) -> list[Tensor]:
        """Return the (H * W * A, 4) anchors of each map, in pixels of `pixel_values`."""
        cells = build_cell_anchors(self.config)  # built anew: loading would empty a buffer that is not saved
        return [
            grid_anchors(cell.to(x.device), x.shape[-2], x.shape[-1], stride)
            for cell, x, stride in zip(cells, maps, self.strides, strict=True)
        ]

    def forward(self, maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return, one a level: anchors (n, 4), objectness (B, n), deltas (B, n, 4)."""
        outputs = [self.rpn_head(x) for x in maps]
        return self.anchors(maps), [output[0] for output in outputs], [output[1] for output in outputs]

    @torch.no_grad()
    def propose(
        self,
        anchors: list[Tensor],
        objectness: list[Tensor],
        deltas: list[Tensor],
        image_sizes: Tensor,
        image_scales: Tensor,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return, one an image: proposals (n, 4) in pixels of `pixel_values`, best first, and their logits (n,).

        Args:
            anchors, objectness, deltas: from `forward`.
            image_sizes: (B, 2) height and width of each image in `pixel_values`, without padding.
            image_scales: (B, 2) pixels of `pixel_values` a pixel of the original, y and x.
        """
        config = self.config
        pre_nms = config.pre_nms_top_n_train if self.training else config.pre_nms_top_n
        post_nms = config.post_nms_top_n_train if self.training else config.post_nms_top_n
        proposals, scores = [], []
        for index, ((height, width), (scale_y, scale_x)) in enumerate(
            zip(image_sizes.tolist(), image_scales.tolist(), strict=True)
        ):
            least = torch.tensor([scale_x, scale_y], device=anchors[0].device) * config.min_proposal_size
            levels = []
            for level, reference in enumerate(anchors):
                logits, moves = objectness[level][index], deltas[level][index]
                if not config.clip_before_top_k:
                    logits, best = logits.topk(min(pre_nms, len(logits)))
                    reference, moves = reference[best], moves[best]
                boxes = decode_boxes(moves, reference, weights=RPN_BOX_WEIGHTS, plus_one=config.plus_one)
                boxes = clip_boxes(boxes, height, width, plus_one=config.plus_one)
                good = _is_large_enough(boxes, least, config.plus_one) & logits.isfinite()
                boxes, logits = boxes[good], logits[good]
                if config.clip_before_top_k:
                    logits, best = logits.topk(min(pre_nms, len(logits)))
                    boxes = boxes[best]
                levels.append((boxes, logits, torch.full_like(logits, level, dtype=torch.long)))
            boxes, logits, level_ids = (torch.cat(parts) for parts in zip(*levels, strict=True))
            groups = level_ids if len(levels) > 1 else None
            kept = nms(boxes, logits, config.rpn_nms_threshold, groups=groups, plus_one=config.plus_one)[:post_nms]
            proposals.append(boxes[kept])
            scores.append(logits[kept])
        return proposals, scores


def _is_large_enough(boxes: Tensor, least: Tensor, plus_one: bool) -> Tensor:
    sizes = boxes[:, 2:] - boxes[:, :2]
    return (sizes > 0).all(dim=1) & (sizes + int(plus_one) > least).all(dim=1) & boxes.isfinite().all(dim=1)


CAFFE_BASE_SIZE = 16


def caffe_cell_anchors(scales: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """Return the (A, 4) rounded table of caffe, ratios outside, scales inside, about the centre (7.5, 7.5)."""
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
    """Return the (A, 4) anchors of size x size px, sizes outside, ratios (height / width) inside, about (0, 0)."""
    anchors = []
    for size in sizes:
        for ratio in ratios:
            width = math.sqrt(size**2 / ratio)
            height = ratio * width
            anchors.append([-width / 2, -height / 2, width / 2, height / 2])
    return torch.tensor(anchors)


def build_cell_anchors(config: RegionDetectorConfig) -> list[Tensor]:
    """Return one (A, 4) tensor a level: the anchors of the top left cell, in pixels of the image."""
    if config.cell_anchors is not None:
        return [torch.tensor(level, dtype=torch.float32) for level in config.cell_anchors]
    build = caffe_cell_anchors if config.anchor_style == "caffe" else detectron2_cell_anchors
    return [build(sizes, config.anchor_ratios) for sizes in config.anchor_sizes]


def grid_anchors(cell_anchors: Tensor, height: int, width: int, stride: int) -> Tensor:
    """Return the (height * width * A, 4) anchors of a feature map, in the order (y, x, anchor).

    Args:
        cell_anchors: (A, 4) of the top left cell.
        height, width: of the feature map.
        stride: pixels of the image from cell to cell.
    """
    y = torch.arange(height, device=cell_anchors.device) * stride
    x = torch.arange(width, device=cell_anchors.device) * stride
    y, x = torch.meshgrid(y, x, indexing="ij")
    shifts = torch.stack([x, y, x, y], dim=-1).reshape(-1, 1, 4)
    return (shifts + cell_anchors).reshape(-1, 4)


__all__ = ["RPN_BOX_WEIGHTS", "RegionProposalNetwork", "build_cell_anchors", "grid_anchors"]
