"""The annotations of a detection file to the objects of its images, with an account of every box left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..rows.report import BadRowReport, TooManyBadRowsError
from ..rows.types import AnnotatedObject, DetectionRow
from .box_forms import PlacedBox, clip, detect_form, is_within_a_pixel, read_numbers, read_whole, to_corners


@dataclass
class BoxReader:
    """Reads the boxes of a file.

    Attributes:
        path: the file, for messages.
        classes: number from 0 of each category.
        attributes: the same of the attributes.
        report: where boxes that are left out or repaired are counted, as repairs of their images.
    """

    path: Path
    classes: Mapping[int, int]
    attributes: Mapping[int, int]
    report: BadRowReport
    kept: int = 0
    left_out: int = 0

    def read_into(self, rows: Sequence[DetectionRow], boxes: Mapping[int | None, list[tuple[int, Any]]]) -> None:
        """Fill the objects of the rows from (number, annotation) by image.

        Raises:
            ValueError: the boxes are fractions, and it is not certain of what form.
        """
        placed = [
            PlacedBox(numbers, row["width"], row["height"])
            for row in rows
            for _, annotation in boxes.get(row["image_id"], [])
            if (numbers := read_numbers(annotation.get("bbox"))) is not None
        ]
        try:
            form = detect_form(placed)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from error
        for row in rows:
            row["objects"] = self._read(boxes.get(row["image_id"], []), row["width"], row["height"], form)

    def leave_out(self, cause: str, place: str, found: str) -> None:
        """Count a box that is not used."""
        self.left_out += 1
        self.report.add_repair(cause, place, found)

    def raise_above(self, max_bad_fraction: float) -> None:
        """Raise TooManyBadRowsError if a greater fraction of the boxes was left out, or all were."""
        total = self.kept + self.left_out
        if total and (not self.kept or self.left_out > max_bad_fraction * total):
            limit = f"More than {max_bad_fraction:.0%} of the boxes" if self.kept else "All boxes"
            raise TooManyBadRowsError(f"{limit} are left out: {self.kept} of {total} can be used.\n{self.report}")

    def _read(self, annotations: list[tuple[int, Any]], width: int, height: int, form: str) -> list[AnnotatedObject]:
        objects, seen = list[AnnotatedObject](), set[tuple[float, ...]]()
        for index, annotation in annotations:
            place, found = f"annotation {index}", f"{str(annotation.get('bbox'))[:80]} in {width} x {height}"
            category = annotation.get("category_id")
            category_id = self.classes.get(number) if (number := read_whole(category)) is not None else None
            crowd, numbers = annotation.get("iscrowd"), read_numbers(annotation.get("bbox"))
            box = None if numbers is None else PlacedBox(numbers, width, height)
            corners, repair = (None, None) if box is None else to_corners(box, form)
            inside = None if corners is None else clip(corners, width, height)
            if crowd and read_whole(crowd) != 0:
                self.leave_out("crowd skipped", place, f"iscrowd {str(crowd)[:20]}")
            elif category_id is None:
                self.leave_out("unknown category", place, f"category_id {str(category)[:40]!r}")
            elif box is None or corners is None or inside is None:
                self.leave_out("empty box", place, found)
            elif form == "xywh" and is_within_a_pixel(box):
                self.leave_out("box within a pixel", place, found)
            elif inside[1]:
                self.leave_out("box outside", place, found)
            elif (category_id, *inside[0]) in seen:
                self.report.add_repair("duplicate box", place, found)
            else:
                bbox = inside[0]
                seen.add((category_id, *bbox))
                self.kept += 1
                clipped = max(abs(bbox[0] - corners[0]), abs(bbox[1] - corners[1]), *_beyond(bbox, corners))
                if repair or clipped > 1:  # rounding aside
                    self.report.add_repair(repair or "box clipped", place, found)
                attribute_ids = self._attributes(annotation.get("attribute_ids") or [], place)
                objects.append({"bbox": bbox, "category_id": category_id, "attribute_ids": attribute_ids})
        return objects

    def _attributes(self, ids: object, place: str) -> list[int]:
        known = []
        for key in ids if isinstance(ids, list) else [ids]:
            number = read_whole(key)
            if number is not None and number in self.attributes:
                known.append(self.attributes[number])
            else:
                self.report.add_repair("unknown attribute", place, str(key)[:40])
        return list(dict.fromkeys(known))


def _beyond(bbox: Sequence[float], corners: Sequence[float]) -> tuple[float, float]:
    return abs(bbox[0] + bbox[2] - corners[2]), abs(bbox[1] + bbox[3] - corners[3])


__all__ = ["BoxReader"]
