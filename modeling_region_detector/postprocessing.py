"""Choice of the boxes that become regions.

Each of the published ways is a function of one image's boxes and class probabilities. Their class loops (one
suppression for each of 1600 classes) are replaced by one over the pairs (box, class) that can matter: a pair below the
threshold suppresses none above it, so that every confidence above the threshold is exact.

Source: spec of the region features, section 6.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from .boxes import nms


def lowered_thresholds(threshold: float) -> Iterator[float]:
    """Yield the threshold, then ever lower ones, at last 0."""
    while threshold > 1e-5:
        yield threshold
        threshold /= 10
    yield 0.0


def kept_confidence(
    boxes: Tensor, probs: Tensor, *, threshold: float, enough: int, nms_threshold: float, plus_one: bool
) -> Tensor:
    """Return (N,) the best probability of each box among the classes in which it survives suppression; 0 if in none.

    Exact where it is at least the lowest threshold tried; 0 below.

    Args:
        boxes: (N, 4), the same for all classes.
        probs: (N, K) without background.
        threshold: pairs below it are left out at first.
        enough: the threshold is lowered until so many boxes have a confidence, or nothing is left to try.
        nms_threshold: overlap from which the worse of two boxes goes, class by class.
    """
    confidence = probs.new_zeros(len(probs))
    for lowest in lowered_thresholds(threshold):
        box_ids, classes = torch.where(probs >= lowest)
        scores = probs[box_ids, classes]
        kept = nms(boxes[box_ids], scores, nms_threshold, groups=classes, plus_one=plus_one)
        confidence = probs.new_zeros(len(probs)).scatter_reduce(0, box_ids[kept], scores[kept], "amax")
        if int((confidence > 0).sum()) >= min(enough, len(probs)):
            break
    return confidence


def choose_by_confidence(confidence: Tensor, *, threshold: float, min_boxes: int, max_boxes: int) -> Tensor:
    """Return the indices of the regions: those from `threshold` on in their order; if these are fewer than
    `min_boxes` or more than `max_boxes`, that many of the best, best first."""
    (kept,) = torch.where(confidence >= threshold)
    count = min(max(len(kept), min_boxes), max_boxes)
    return kept if count == len(kept) else confidence.argsort(descending=True, stable=True)[:count]


def detect(
    boxes: Tensor,
    probs: Tensor,
    *,
    threshold: float,
    min_boxes: int = 0,
    max_boxes: int,
    nms_threshold: float,
    plus_one: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return detections, best first: indices of the proposals (n,), classes (n,) and scores (n,).

    A proposal can be found as several classes. Boxes without an area are left out at last, as detectron2 does.

    Args:
        boxes: (N, K, 4), refined for each class.
        probs: (N, K) without background.
        threshold: detections score more.
        min_boxes: the threshold is lowered until there are so many, or nothing is left to try.
        max_boxes: at most so many.
        nms_threshold: overlap from which the worse of two detections of a class goes.
    """
    kept = box_ids = classes = scores = torch.empty(0, dtype=torch.long, device=probs.device)
    for lowest in lowered_thresholds(threshold):
        box_ids, classes = torch.where(probs > lowest)
        scores = probs[box_ids, classes]
        kept = nms(boxes[box_ids, classes], scores, nms_threshold, groups=classes, plus_one=plus_one)[:max_boxes]
        if len(kept) >= min(min_boxes, max_boxes):
            break
    found = boxes[box_ids[kept], classes[kept]]
    kept = kept[(found[:, 2:] > found[:, :2]).all(dim=1)]
    return box_ids[kept], classes[kept], scores[kept]


__all__ = ["choose_by_confidence", "detect", "kept_confidence", "lowered_thresholds"]
