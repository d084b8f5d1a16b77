"""Boxes as COCO writes them to the labels that the detector learns from."""

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

import torch
from transformers.utils import logging

logger = logging.get_logger(__name__)
_reported: set[str] = set()  # causes of which an example was logged


class AnnotatedObject(TypedDict):
    """A box in COCO's form: `bbox` is x, y, width, height in pixels of the original image; ids count from 0."""

    bbox: Sequence[float]
    category_id: int
    attribute_ids: NotRequired[Sequence[int]]
    iscrowd: NotRequired[int]


class Annotation(TypedDict):
    """The boxes of one image."""

    image_id: int
    annotations: Sequence[AnnotatedObject]


def to_labels(
    annotation: Annotation, *, image_size: tuple[int, int], scales: tuple[float, float], max_attributes: int
) -> dict[str, torch.Tensor]:
    """Return what one image shows: n boxes in pixels of the resized image, and what they hold.

    Boxes are clipped to the image. Boxes that are not finite, or of which nothing is left, are left out, logged once
    with the image's id and counted; so are crowds (`iscrowd`), without a log.

    Args:
        annotation: the boxes of the image.
        image_size: height and width of the original image.
        scales: resized / original, of y and x.
        max_attributes: columns of `attributes`; further attributes of a box are left out.

    Returns:
        boxes: (n, 4) float32, x1 y1 x2 y2.
        class_labels: (n,) int64.
        attributes: (n, max_attributes) int64, padded with -1; only if a box has `attribute_ids`.
        image_id: (1,) int64.
        dropped_boxes: (1,) int64, how many boxes were left out.

    Raises:
        ValueError: for an annotation of another form, with the number of the box.
    """
    if not isinstance(annotation, Mapping) or not {"image_id", "annotations"} <= set(annotation):
        raise ValueError(f'An annotation is {{"image_id": ..., "annotations": [...]}}, but this one is {annotation!r}.')
    image_id, objects = annotation["image_id"], annotation["annotations"]
    if not isinstance(image_id, numbers.Integral):
        raise ValueError(f"image_id is {image_id!r}; it must be a whole number, as in COCO files.")
    height, width = image_size
    boxes, classes, attributes = [], [], []
    for row, item in enumerate(objects):
        where = f"Box {row} of the image {image_id}"
        x, y, box_width, box_height = _sides(item.get("bbox"), where)
        class_id = _ids([item.get("category_id")], f"{where}: category_id")[0]
        attribute_ids = _ids(item.get("attribute_ids") or [], f"{where}: attribute_ids")
        box = [min(max(x, 0), width), min(max(y, 0), height)]
        box += [min(max(x + box_width, 0), width), min(max(y + box_height, 0), height)]
        if item.get("iscrowd"):
            continue
        if not all(map(math.isfinite, (x, y, box_width, box_height))):
            _report("not finite", f"{where} is not finite: {item['bbox']}.")
        elif box[2] <= box[0] or box[3] <= box[1]:
            _report("empty", f"{where} covers nothing of its {width} x {height} pixels: {item['bbox']}.")
        else:
            boxes.append(box)
            classes.append(class_id)
            attributes.append((attribute_ids + [-1] * max_attributes)[:max_attributes])
    labels = {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4) * torch.tensor([scales[1], scales[0]] * 2),
        "class_labels": torch.tensor(classes, dtype=torch.int64),
        "image_id": torch.tensor([image_id]),
        "dropped_boxes": torch.tensor([len(objects) - len(boxes)]),
    }
    if any("attribute_ids" in item for item in objects):
        labels["attributes"] = torch.tensor(attributes, dtype=torch.int64).reshape(-1, max_attributes)
    return labels


def _report(cause: str, problem: str) -> None:
    if cause not in _reported:
        _reported.add(cause)
        logger.warning("%s Such boxes are left out; further ones are only counted.", problem)


def _sides(box: object, where: str) -> list[float]:
    sides = box.tolist() if hasattr(box, "tolist") else box
    if not isinstance(sides, Sequence) or len(sides) != 4 or not all(isinstance(side, numbers.Real) for side in sides):
        raise ValueError(f"{where} is {box!r}; expected [x, y, width, height] in pixels.")
    return list(sides)


def _ids(ids: Sequence[object], where: str) -> list[int]:
    whole = [int(number) for number in ids if isinstance(number, numbers.Integral) and int(number) >= 0]
    if len(whole) < len(ids):
        raise ValueError(f"{where} is {list(ids)}; expected whole numbers from 0.")
    return whole


__all__ = ["AnnotatedObject", "Annotation", "to_labels"]
