"""A sheet of test images with what a trained detector sees in them."""

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from ...analysis.plots.boxes import draw_regions, name_regions
from ...data.detection.dataset import DetectionRows
from ...data.files.atomic import atomic_file
from ...processing.image_decoding import decode_image
from ...processing.regions.feature_extractor import RegionFeatureExtractor

CELL, MARGIN = 480, 8


def draw_detections(
    folder: Path, tests: Mapping[str, DetectionRows], path: Path, *, images: int = 4, threshold: float = 0.5
) -> None:
    """Write a PNG: a row of the first images of each test, with the detections of the detector in the folder.

    A box is drawn from a confidence of `threshold` on.
    """
    extractor = RegionFeatureExtractor.from_pretrained(folder)
    sheet = Image.new("RGB", (images * (CELL + MARGIN) + MARGIN, len(tests) * (CELL + MARGIN) + MARGIN), "white")
    for row, rows in enumerate(tests.values()):
        for column in range(min(images, len(rows))):
            image = decode_image(rows[column]["image"])
            regions = extractor.extract(
                [image], min_boxes=0, max_boxes=36, conf_threshold=threshold, region_boxes="detections"
            )
            scale = CELL / max(image.size)
            drawn = draw_regions(image, **name_regions(regions, extractor.config), scale=scale)
            sheet.paste(drawn, (MARGIN + column * (CELL + MARGIN), MARGIN + row * (CELL + MARGIN)))
    with atomic_file(path) as unfinished:
        sheet.save(unfinished, format="PNG")


__all__ = ["draw_detections"]
