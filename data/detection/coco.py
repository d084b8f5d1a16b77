"""Boxes that users bring: a COCO detection file, also with attributes as Visual Genome has them, to rows.

The JSON holds `images` [{id, file_name, width, height}], `categories` [{id, name}], `annotations` [{image_id,
category_id, bbox [x, y, width, height] in pixels}] and, for attributes, `attributes` [{id, name}] beside
`attribute_ids` in the annotations. Ids may be any whole numbers, also written as text or with .0; what comes out counts
from 0 in their order. Boxes in another form: see `box_forms`.
"""

import logging
import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files.json_files import read_lists
from ..rows.printable import printable
from ..rows.report import BadRowError, BadRowReport
from ..rows.text import is_blank
from ..rows.types import DetectionRow, StoredImage
from ..rows.validation import MAX_EDGE, path_below_root
from .box_forms import read_whole
from .boxes import BoxReader

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

MAX_NAME = 200  # characters of a class


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

    An image is left out if it cannot be used; its boxes are clipped, and those of which little is left, crowds,
    duplicates and boxes of unknown categories are left out. A category without boxes under which others stand, such as
    the first one that Roboflow writes, is no class.

    Args:
        file: the JSON.
        image_root: the folder that `file_name` is relative to and must not leave; by default that of the file.
        class_names: the names of the model's classes, to read a second file (validation) in their order; a category
            that is not among them is unknown.
        attribute_names: the same for attributes.
        max_bad_fraction: raise if a greater fraction of the images, or of their boxes, is left out; duplicates apart.
        check_image: called with each path; raises ValueError, whose `cause` attribute, if it has one, is the cause to
            count by. Where it returns something with a `size`, such as a PIL image, that must be the file's.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not of this form, two categories have the same id or name, ids could be mistaken for one
            another, or boxes are fractions of some form.
        TooManyBadRowsError: too many images or boxes are bad, or none is left.
    """
    path = Path(os.path.abspath(file))
    content = read_lists(path, "images", "annotations", "categories")
    report = BadRowReport(source=path)
    for what in ("images", "categories"):
        _refuse_doubtful_ids(path, what, content[what])
    categories = _without_headings(content["categories"], content["annotations"])
    classes, names = _number_names(categories, class_names, "categories")
    attributes, attribute_names = _number_names(content.get("attributes") or [], attribute_names, "attributes")
    boxes: dict[int | None, list[tuple[int, Any]]] = defaultdict(list)
    for index, annotation in enumerate(content["annotations"]):
        image_id = read_whole(annotation.get("image_id")) if isinstance(annotation, dict) else None
        boxes[image_id].append((index, annotation))
    root, seen = Path(os.path.abspath(image_root or path.parent)), set[int | str]()

    def check(place: int | str, image: object) -> DetectionRow:
        return _check_image(image, root, seen, check_image)

    rows = list(report.check_rows(((f"image {index}", image) for index, image in enumerate(content["images"])), check))
    reader = BoxReader(path, classes, attributes, report)
    reader.read_into(rows, boxes)
    known = {read_whole(image.get("id")) for image in content["images"] if isinstance(image, dict)}
    for image_id in boxes.keys() - known | {None}:
        for index, annotation in boxes.get(image_id, []):
            reader.leave_out("unknown image", f"annotation {index}", str(annotation)[:80])
    if class_names is None:
        _warn_of_unused(rows, names, path)
    report.raise_above(max_bad_fraction)
    reader.raise_above(max_bad_fraction)
    report.log()
    return DetectionData(_to_dataset(rows), names, attribute_names, report)


def _refuse_doubtful_ids(path: Path, what: str, entries: list[Any]) -> None:
    """Raise ValueError where ids are different in the file, but the same once they are read, such as 1 and "01"."""
    written: dict[int, object] = {}
    for entry in entries:
        found = entry.get("id") if isinstance(entry, dict) else None
        number = read_whole(found)
        if number is not None and repr(written.setdefault(number, found)) != repr(found):
            both = f"{written[number]!r:.40} and {found!r:.40}"
            raise ValueError(f"{path}: two {what} have the ids {both}, which could be the same; write whole numbers.")


def _without_headings(categories: list[Any], annotations: list[Any]) -> list[Any]:
    """Return the categories without those that have no box and are the `supercategory` of another."""
    used = {read_whole(entry.get("category_id")) for entry in annotations if isinstance(entry, dict)}
    entries = [entry for entry in categories if isinstance(entry, dict)]

    def is_heading(entry: object) -> bool:
        if not isinstance(entry, dict) or read_whole(entry.get("id")) in used:
            return False
        if entry.get("supercategory") == entry.get("name"):  # a class under a heading of its name
            return False
        return any(other is not entry and other.get("supercategory") == entry.get("name") for other in entries)

    return [entry for entry in categories if not is_heading(entry)]


def _number_names(entries: list[Any], wanted: Sequence[str] | None, what: str) -> tuple[dict[int, int], list[str]]:
    """Return the number from 0 of each id, and the names in that order."""
    names: dict[int, str] = {}
    looks = set[str]()
    for entry in entries if isinstance(entries, list) else [entries]:
        number = read_whole(entry.get("id")) if isinstance(entry, dict) else None
        name = entry.get("name") if isinstance(entry, dict) else None
        name = str(name) if isinstance(name, int | float) else name
        if number is None or not isinstance(name, str):
            raise ValueError(f"Each of the {what} is {{'id': number, 'name': ...}}; found {str(entry)[:80]!r}.")
        if is_blank(name):
            raise ValueError(f"The name of one of the {what}, of the id {number}, is empty; write what it is.")
        if len(name) > MAX_NAME:
            raise ValueError(f"The name of one of the {what}, of the id {number}, has {len(name):,} characters.")
        if number in names or _look(name) in looks:
            found = f"{number}: {name!r}"
            raise ValueError(
                f"Two of the {what} have the same id or name ({found}); make them different or merge them."
            )
        names[number] = name
        looks.add(_look(name))
    order = list(wanted) if wanted is not None else [names[key] for key in sorted(names)]
    positions = {_look(name): position for position, name in enumerate(order)}
    return {key: positions[look] for key, name in names.items() if (look := _look(name)) in positions}, order


def _look(name: str) -> str:
    """Return what is the same of names that look the same: white space, what is not seen and Unicode forms apart."""
    seen = (character for character in name if unicodedata.category(character) != "Cf")
    return " ".join(unicodedata.normalize("NFC", "".join(seen)).split())


def _warn_of_unused(rows: list[DetectionRow], names: list[str], path: Path) -> None:
    unused = set(range(len(names))) - {item["category_id"] for row in rows for item in row["objects"]}
    if unused and len(unused) < len(names):
        shown = ", ".join(names[index] for index in sorted(unused)[:5])
        logger.warning("%s: %d of %d categories have no box: %s.", path, len(unused), len(names), printable(shown))


def _check_image(
    image: object, root: Path, seen: set[int | str], check_image: Callable[[str], object] | None
) -> DetectionRow:
    fields = image if isinstance(image, dict) else {}
    image_id, width, height = (read_whole(fields.get(name)) for name in ("id", "width", "height"))
    file_name = fields.get("file_name")
    if image_id is None or not isinstance(file_name, str) or not (width and height and min(width, height) > 0):
        raise BadRowError("missing field", f"{str(image)[:200]}; an image has id, file_name, width, height")
    if max(width, height) > MAX_EDGE:
        raise BadRowError("size differs", f"{file_name[:80]} would be {width} x {height}")
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
    if path in seen:
        raise BadRowError("duplicate image", f"{file_name[:80]!r} is there under two ids, whose boxes belong together")
    seen.add(path)
    stored = StoredImage(bytes=None, path=path)
    return {"image": stored, "image_id": image_id, "width": width, "height": height, "objects": []}


def _to_dataset(rows: list[DetectionRow]) -> "Dataset":
    from datasets import Dataset, Features, Image, List, Value

    number = Value("int64")
    objects = {"bbox": List(Value("float32")), "category_id": number, "attribute_ids": List(number)}
    features = {"image": Image(), "image_id": number, "width": number, "height": number}
    return Dataset.from_list(rows, Features(features | {"objects": List(objects)}))


__all__ = ["DetectionData", "read_coco_detection"]
