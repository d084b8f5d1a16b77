"""Region features the plain way, as the published code goes: one image at a time, one suppression for each class."""

import torch
from PIL import Image
from torch import Tensor
from wenlan.modeling_region_detector import RegionDetector, RegionImageProcessor
from wenlan.modeling_region_detector.boxes import nms


def plain_regions(
    model: RegionDetector,
    processor: RegionImageProcessor,
    images: list[Image.Image],
    *,
    min_boxes: int = 10,
    max_boxes: int = 100,
    threshold: float = 0.2,
) -> list[tuple[Tensor, Tensor]]:
    """Return (boxes (n, 4), features (n, D)) of each image, of a detector whose background is first."""
    regions = []
    for image in images:
        output = model(**processor([image], return_tensors="pt"))
        probs, boxes = output.logits[0].softmax(1), output.proposals[0]
        confidence = torch.zeros(len(boxes))
        for column in range(1, probs.shape[1]):
            scores = probs[:, column]
            kept = nms(boxes, scores, model.config.selection_nms_threshold, plus_one=model.config.plus_one)
            confidence[kept] = torch.where(scores[kept] > confidence[kept], scores[kept], confidence[kept])
        kept = torch.where(confidence >= threshold)[0]
        if len(kept) < min_boxes:
            kept = confidence.argsort(descending=True, stable=True)[:min_boxes]
        elif len(kept) > max_boxes:
            kept = confidence.argsort(descending=True, stable=True)[:max_boxes]
        regions.append((boxes[kept], output.features[0, kept]))
    return regions


__all__ = ["plain_regions"]
