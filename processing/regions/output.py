"""Output of a `RegionFeatureExtractor`, whichever detector is behind it."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers.utils import ModelOutput

# `ModelOutput` demands the default None for every field but the first; an extractor fills those below.
FILLED: Any = None


@dataclass
class RegionOutput(ModelOutput):
    """Regions of B images, N = the most regions of an image; rows beyond an image's own are zeros.

    Args:
        features: (B, N, D) float32.
        boxes: (B, N, 4) float32, x1 y1 x2 y2 in pixels of the original image.
        attention_mask: (B, N) int64, 1 = real region.
        class_probs: (B, N, K + 1) float32, background included; the soft labels of masked region classification.
        background_index: column of the background in `class_probs`: 0 or K.
        object_ids: (B, N) int64, the best class without background, from 0.
        object_scores: (B, N) float32, its probability (for detections: that of the detected class).
        attribute_ids: (B, N) int64, the best attribute without "no attribute", from 0; None without attribute head.
        attribute_scores: (B, N) float32, its probability.
        image_sizes: (B, 2) int64, height and width of the original images.
    """

    features: Tensor = FILLED
    boxes: Tensor = FILLED
    attention_mask: Tensor = FILLED
    class_probs: Tensor = FILLED
    background_index: int = FILLED
    object_ids: Tensor = FILLED
    object_scores: Tensor = FILLED
    attribute_ids: Tensor | None = None
    attribute_scores: Tensor | None = None
    image_sizes: Tensor = FILLED


__all__ = ["RegionOutput"]
