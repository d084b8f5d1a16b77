"""Labels of boxes by overlap, and a training sample of them with a limited fraction of positives.

Source: spec of the region features, section 9 (detectron2's matcher and sampler).
"""

import torch
from torch import Tensor
from torchvision.ops import box_iou


def label_boxes(
    boxes: Tensor, gt_boxes: Tensor, *, low: float, high: float, allow_low_quality: bool, plus_one: bool = False
) -> tuple[Tensor, Tensor]:
    """Return (matches, labels): for each box the index of its best ground truth, and 1, 0 or -1.

    A box is positive (1) from an overlap (IoU) of `high` with its best ground truth, negative (0) below `low`, and
    ignored (-1) between. Without ground truth all are negative and their match, 0, means nothing.

    Args:
        boxes: (N, 4) anchors or proposals.
        gt_boxes: (G, 4) in the same pixels.
        low, high: overlaps.
        allow_low_quality: the boxes nearest to a ground truth are positive too, all that tie; their match stays their
            own best. Not so if none touches it (detectron2 would then take every box that does not).
        plus_one: widths count the last pixel.
    """
    if not len(gt_boxes):
        empty = torch.zeros(len(boxes), dtype=torch.long, device=boxes.device)
        return empty, empty.clone()
    gt_boxes = gt_boxes.to(boxes.dtype)
    if plus_one:
        last_pixel = boxes.new_tensor([0.0, 0.0, 1.0, 1.0])
        boxes, gt_boxes = boxes + last_pixel, gt_boxes + last_pixel
    overlaps = box_iou(gt_boxes, boxes)  # (G, N)
    best, matches = overlaps.max(dim=0)
    labels = torch.where(best >= high, 1, torch.where(best < low, 0, -1))
    if allow_low_quality and len(boxes):
        nearest = overlaps.amax(dim=1, keepdim=True)
        labels[((overlaps == nearest) & (nearest > 0)).any(dim=0)] = 1
    return matches, labels


def sample_boxes(labels: Tensor, *, size: int, positive_fraction: float) -> tuple[Tensor, Tensor]:
    """Return the indices of the sampled positives and negatives; all of a kind, in order, where they are few enough.

    Args:
        labels: (N,) 1, 0, or -1 = never.
        size: boxes in all.
        positive_fraction: largest fraction of positives; negatives fill the rest.
    """
    positives, negatives = (labels == 1).nonzero()[:, 0], (labels == 0).nonzero()[:, 0]
    positives = _draw(positives, int(size * positive_fraction))
    return positives, _draw(negatives, size - len(positives))


def _draw(indices: Tensor, size: int) -> Tensor:
    if len(indices) <= size:
        return indices
    return indices[torch.randperm(len(indices), device=indices.device)[:size]]


__all__ = ["label_boxes", "sample_boxes"]
