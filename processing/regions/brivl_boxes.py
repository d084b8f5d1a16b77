"""The boxes that BriVL 1.0 looks at, from a region detector."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image
from torch import Tensor

if TYPE_CHECKING:
    from .feature_extractor import RegionFeatureExtractor


def find_brivl_boxes(
    detector: "RegionFeatureExtractor",
    images: Sequence[Image.Image],
    *,
    max_boxes: int = 36,
    min_score: float = 0.0,
    batch_size: int = 8,
) -> list[Tensor]:
    """Return the boxes of each image, best first: (n, 4) float32, x1 y1 x2 y2 in its pixels, n <= `max_boxes`.

    They are what `BriVLProcessor` takes as `boxes`; where there are none, BriVL sees the whole image alone. As in the
    code of BriVL 1.0: of each proposal the refined box of its best class, the most confident of them, however little
    confident. Boxes without an area are left out.

    Args:
        detector: BriVL 1.0 was trained with bottom-up attention ("bua").
        images: decoded images.
        max_boxes: 36 as BriVL 1.0 reads.
        min_score: boxes whose best class is less probable are left out.
        batch_size: images at a time, at most.

    Source: spec of the region features, section 6, mode 2.
    """
    found = detector.extract(images, region_boxes="refined", min_boxes=0, max_boxes=max_boxes, batch_size=batch_size)
    shown = found.attention_mask.bool() & (found.boxes[..., 2:] > found.boxes[..., :2]).all(dim=-1)
    shown &= found.object_scores >= min_score
    return [boxes[kept] for boxes, kept in zip(found.boxes, shown, strict=True)]


__all__ = ["find_brivl_boxes"]
