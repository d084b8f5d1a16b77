"""Rows of images and boxes to one batch for a region detector."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ...data.rows.types import DetectionExample
from ...modeling_region_detector.image_processing_region_detector import RegionImageProcessor
from ..augmentation.detection import DetectionAugmentation
from ..augmentation.image import draw_seed_of
from .image_batch import ImageCollator


@dataclass
class DetectionCollator(ImageCollator):
    """Collate rows into the keyword arguments of a `RegionDetector`.

    A row holds `image` (PIL image, path or bytes), `image_id` (int), `objects`, a list of {"bbox": [x, y, width,
    height] in pixels of the upright original, "category_id", "attribute_ids" (optional)}, and, needed with
    `augmentation`, `draw_seed` (int, made from seed, epoch and index).

    An image that cannot be decoded is left out with its row, counted in `bad_rows` and logged once a cause. The
    batch is then shorter.

    Args:
        augmentation: changes each image and its boxes before the processor sees them.
    """

    processor: RegionImageProcessor
    augmentation: DetectionAugmentation | None = None

    def __call__(self, rows: Sequence[DetectionExample]) -> dict[str, torch.Tensor | list[dict]]:
        """Return the batch of the B rows whose image can be decoded: what the processor gives, labels included.

        Raises:
            EmptyBatchError: no image can be decoded.
            ValueError: a `draw_seed` is missing.
        """
        images, annotations = [], []
        for row in rows:
            image = self.decode(row["image"])
            if image is None:
                continue
            objects = row["objects"]
            if self.augmentation is not None:
                boxes = [item["bbox"] for item in objects]
                image, boxes = self.augmentation(image, boxes, seed=draw_seed_of(row))
                objects = [{**item, "bbox": box} for item, box in zip(objects, boxes, strict=True)]
            images.append(image)
            annotations.append({"image_id": row["image_id"], "annotations": objects})
        self.check_batch(rows, images)
        size = {edge: pixels for edge, pixels in dict(self.processor.size).items() if pixels}
        if self.augmentation is not None:
            scale = self.augmentation.draw_scale(draw_seed_of(rows[0]))
            size = {edge: max(1, round(scale * pixels)) for edge, pixels in size.items()}
        return dict(self.processor(images, annotations, size=size, return_tensors="pt"))


__all__ = ["DetectionCollator"]
