"""Boxes and the numbers that move them: encoding, decoding, clipping, non-maximum suppression.

Boxes are x1 y1 x2 y2 in absolute pixels. With *plus one*, as in caffe, a box from x1 to x2 is x2 - x1 + 1 pixels wide
and ends at the last pixel W - 1 of its image; without, as in detectron2, it is x2 - x1 wide and ends at W.

Source: spec of the region features, sections 4-6.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision import ops

# A box grows by at most this factor to a side of 1000 px from 16 px: exp() of an untrained network stays finite.
MAX_LOG_SCALE = math.log(1000.0 / 16)


def _centres_and_sizes(boxes: Tensor, plus_one: bool) -> tuple[Tensor, Tensor]:
    sizes = boxes[..., 2:] - boxes[..., :2] + int(plus_one)
    return boxes[..., :2] + 0.5 * sizes, sizes


def encode_boxes(reference: Tensor, boxes: Tensor, *, weights: Sequence[float], plus_one: bool) -> Tensor:
    """Return the (N, 4) deltas (dx, dy, dw, dh) that turn `reference` (N, 4) into `boxes` (N, 4)."""
    centres, sizes = _centres_and_sizes(reference, plus_one)
    target_centres, target_sizes = _centres_and_sizes(boxes, plus_one)
    deltas = torch.cat([(target_centres - centres) / sizes, torch.log(target_sizes / sizes)], dim=-1)
    return deltas * deltas.new_tensor(weights)


def decode_boxes(deltas: Tensor, reference: Tensor, *, weights: Sequence[float], plus_one: bool) -> Tensor:
    """Return the boxes (..., 4) that `deltas` (..., 4) make of `reference`, which is broadcast against them.

    The far corner has no "- 1" with plus one: caffe's own asymmetry.
    """
    centres, sizes = _centres_and_sizes(reference, plus_one)
    deltas = deltas / deltas.new_tensor(weights)
    centres = deltas[..., :2] * sizes + centres
    half = 0.5 * torch.exp(deltas[..., 2:].clamp(max=MAX_LOG_SCALE)) * sizes
    return torch.cat([centres - half, centres + half], dim=-1)


def clip_boxes(boxes: Tensor, height: float, width: float, *, plus_one: bool) -> Tensor:
    """Return the boxes (..., 4) cut to an image of this height and width in pixels."""
    height, width = height - int(plus_one), width - int(plus_one)
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack([x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)], dim=-1)


def nms(boxes: Tensor, scores: Tensor, threshold: float, *, groups: Tensor | None = None, plus_one: bool) -> Tensor:
    """Return the indices of the boxes that survive non-maximum suppression, best first.

    Args:
        boxes: (N, 4); computed in float32 whatever their type.
        scores: (N,).
        threshold: a box goes if its overlap (IoU) with a better one is larger.
        groups: (N,) integers; boxes of different groups do not suppress one another.
    """
    boxes = boxes.float()
    if plus_one:
        boxes = boxes + boxes.new_tensor([0.0, 0.0, 1.0, 1.0])
    if groups is None:
        return ops.nms(boxes, scores.float(), threshold)
    return ops.batched_nms(boxes, scores.float(), groups, threshold)


__all__ = ["MAX_LOG_SCALE", "clip_boxes", "decode_boxes", "encode_boxes", "nms"]
