"""Boxes that users bring: a COCO detection file, also with attributes as Visual Genome has them, to rows.

The JSON holds `images` [{id, file_name, width, height}], `categories` [{id, name}], `annotations` [{image_id,
category_id, bbox [x, y, width, height] in pixels}] and, for attributes, `attributes` [{id, name}] beside
`attribute_ids` in the annotations. Ids may be any whole numbers; what comes out counts from 0 in their order.
"""

import json
import math
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..rows.report import BadRowError, BadRowReport
from ..rows.types import AnnotatedObject, DetectionRow, StoredImage
from ..rows.validation import MAX_EDGE, path_below_root

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass
class DetectionData:
    """Images and what is in them.

    Attributes:
        dataset: rows of `image` (`datasets.Image`, a path), `image_id`, `width`, `height` and `objects`, a list of
            {"bbox": [x, y, width, height] in pixels, "category_id", "attribute_ids"}. An image may have no objects.
        class_names: the name of each `category_id`.
        attribute_names: the name of each of the `attribute_ids`; empty if the data have none.
        report: what was left out or repaired.
    """

    dataset: "Dataset"
    class_names: list[str]
    attribute_names: list[str]
    report: BadRowReport


def read_coco_detection(
    file: str | Path,
    *,
    image_root: str | Path | None = None,
    class_names: Sequence[str] | None = None,
    attribute_names: Sequence[str] | None = None,
    max_bad_fraction: float = 0.1,
    check_image: Callable[[str], object] | None = None,
) -> DetectionData:
    """Return the images of a COCO detection file, the names, and an account of all that was left out.

    An image is left out if it cannot be used; its boxes are clipped, and those of which nothing is left, crowds,
    duplicates and boxes of unknown categories are left out.

    Args:
        file: the JSON.
        image_root: the folder that `file_name` is relative to and must not leave; by default that of the file.
        class_names: the names of the model's classes, to read a second file (validation) in their order; a category
            that is not among them is unknown.
        attribute_names: the same for attributes.
        max_bad_fraction: raise if a greater fraction of the images is bad.
        check_image: called with each path; raises ValueError, whose `cause` attribute, if it has one, is the cause to
            count by. Where it returns something with a `size`, such as a PIL image, that must be the file's.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not of this form, or two categories have the same id or name.
        TooManyBadRowsError: too many images are bad, or there are none.
    """
    path = Path(os.path.abspath(file))
    content = _read_json(path)
    report = BadRowReport(source=path)
    classes, class_names = _number_names(content["categories"], class_names, "categories")
    attributes, attribute_names = _number_names(content.get("attributes") or [], attribute_names, "attributes")
    reader = _BoxReader(classes, attributes, report)
    boxes: dict[int | None, list[tuple[int, Any]]] = defaultdict(list)
    for index, annotation in enumerate(content["annotations"]):
        image_id = annotation.get("image_id") if isinstance(annotation, dict) else None
        boxes[image_id if isinstance(image_id, int) else None].append((index, annotation))
    root, seen = Path(os.path.abspath(image_root or path.parent)), set[int]()

    def check(place: int | str, image: object) -> DetectionRow:
        row = _check_image(image, root, seen, check_image)
        row["objects"] = reader.read(boxes[row["image_id"]], row["width"], row["height"])
        return row

    rows = list(report.check_rows(((f"image {index}", image) for index, image in enumerate(content["images"])), check))
    known = {image["id"] for image in content["images"] if isinstance(image, dict) and isinstance(image.get("id"), int)}
    for image_id in boxes.keys() - known:
        for index, annotation in boxes[image_id]:
            report.add_repair("unknown image", f"annotation {index}", str(annotation)[:80])
    report.log()
    report.raise_above(max_bad_fraction)
    return DetectionData(_to_dataset(rows), class_names, attribute_names, report)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}).") from error
    for name in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise ValueError(f"{path} has no list {name!r}: a COCO detection file has images, annotations, categories.")
    return content


def _number_names(entries: list[Any], wanted: Sequence[str] | None, what: str) -> tuple[dict[int, int], list[str]]:
    """Return the number from 0 of each id, and the names in that order."""
    try:
        names = {entry["id"]: str(entry["name"]) for entry in entries}
        ids = sorted(names)
    except (KeyError, TypeError) as error:
        raise ValueError(f"Each of the {what} is {{'id': ..., 'name': ...}}; found {error!r}.") from error
    if len(set(names.values())) < len(entries):
        raise ValueError(f"Two of the {what} have the same id or name; make them different or merge them.")
    order = list(wanted) if wanted is not None else [names[key] for key in ids]
    positions = {name: position for position, name in enumerate(order)}
    return {key: positions[name] for key, name in names.items() if name in positions}, order


def _check_image(
    image: object, root: Path, seen: set[int], check_image: Callable[[str], object] | None
) -> DetectionRow:
    names = ("id", "file_name", "width", "height")
    match [image.get(name) for name in names] if isinstance(image, dict) else []:
        case [int(image_id), str(file_name), int(width), int(height)] if min(width, height) >= 1:
            pass
        case _:
            raise BadRowError("missing field", f"{str(image)[:200]}; an image has {', '.join(names)}")
    if image_id in seen:
        raise BadRowError("duplicate image", f"id {image_id} is there twice")
    seen.add(image_id)
    path = path_below_root(file_name, root)
    if check_image is not None:
        try:
            size = getattr(check_image(path), "size", (width, height))
        except ValueError as error:
            raise BadRowError.of_image(error) from error
        if tuple(size) != (width, height):
            raise BadRowError("size differs", f"{path} is {size[0]} x {size[1]}, not {width} x {height}")
    stored = StoredImage(bytes=None, path=path)
    return {"image": stored, "image_id": image_id, "width": width, "height": height, "objects": []}


@dataclass
class _BoxReader:
    classes: dict[int, int]
    attributes: dict[int, int]
    report: BadRowReport

    def read(self, annotations: list[tuple[int, Any]], width: int, height: int) -> list[AnnotatedObject]:
        """Return the usable objects of one image."""
        objects, seen = list[AnnotatedObject](), set[tuple[float, ...]]()
        for index, annotation in annotations:
            place = f"annotation {index}"
            category = annotation.get("category_id")
            category_id = self.classes.get(category) if isinstance(category, int) else None
            bbox = _clip(annotation.get("bbox"), width, height)
            if annotation.get("iscrowd"):
                self.report.add_repair("crowd skipped", place, f"iscrowd {annotation['iscrowd']}")
            elif category_id is None:
                self.report.add_repair("unknown category", place, f"category_id {category!r}")
            elif bbox is None:
                self.report.add_repair("empty box", place, f"{annotation.get('bbox')!r} in {width} x {height}")
            elif (category_id, *bbox) in seen:
                self.report.add_repair("duplicate box", place, f"{annotation['bbox']}")
            else:
                seen.add((category_id, *bbox))
                if max(abs(a - b) for a, b in zip(bbox, annotation["bbox"], strict=True)) > 1:  # rounding aside
                    self.report.add_repair("box clipped", place, f"{annotation['bbox']} in {width} x {height}")
                attribute_ids = self._attributes(annotation.get("attribute_ids") or [], place)
                objects.append({"bbox": bbox, "category_id": category_id, "attribute_ids": attribute_ids})
        return objects

    def _attributes(self, ids: object, place: str) -> list[int]:
        known = []
        for key in ids if isinstance(ids, list) else [ids]:
            if isinstance(key, int) and key in self.attributes:
                known.append(self.attributes[key])
            else:
                self.report.add_repair("unknown attribute", place, f"{key!r}")
        return list(dict.fromkeys(known))


def _clip(bbox: object, width: int, height: int) -> list[float] | None:
    """Return [x, y, width, height] inside the image, None if that is not at least a thousandth of a pixel a side."""
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(isinstance(number, int | float) for number in bbox):
        return None
    if not all(math.isfinite(number) and abs(number) < MAX_EDGE for number in bbox):
        return None
    x1, y1, x2, y2 = bbox[0], bbox[1], bbox[0] + bbox[2], bbox[1] + bbox[3]
    x1, x2 = (min(max(x, 0), width) for x in (x1, x2))
    y1, y2 = (min(max(y, 0), height) for y in (y1, y2))
    if x2 - x1 < 1e-3 or y2 - y1 < 1e-3:
        return None
    return [x1, y1, x2 - x1, y2 - y1]


def _to_dataset(rows: list[DetectionRow]) -> "Dataset":
    from datasets import Dataset, Features, Image, List, Value

    number = Value("int64")
    objects = {"bbox": List(Value("float32")), "category_id": number, "attribute_ids": List(number)}
    features = {"image": Image(), "image_id": number, "width": number, "height": number}
    return Dataset.from_list(rows, Features(features | {"objects": List(objects)}))


__all__ = ["DetectionData", "read_coco_detection"]
