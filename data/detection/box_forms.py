"""The forms in which boxes come, told from the boxes of a whole file: x, y, width, height or two corners, pixels or
fractions.

COCO's `bbox` is x, y, width, height in pixels. A file has another form if its boxes say so for certain: they do not fit
into their images as they should, all of them do in one other form, and in that alone. Else nothing is changed, and what
does not fit is left out and counted, so that a file of the wrong form ends as one with too many bad boxes.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from ..rows.validation import MARGIN

Sides = tuple[float, float, float, float]
NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\s*", re.ASCII)
WHOLE = re.compile(r"\s*\d{1,19}\s*", re.ASCII)
MANY = 10  # boxes that make it certain what they are, even if few of them do not fit
FEW = 3  # boxes from which on anything is certain
MIN_SIDE = 10  # of an image in whose first pixel no object is


class PlacedBox(NamedTuple):
    """Four numbers of a box and the size of its image in pixels."""

    numbers: Sides
    width: int
    height: int


def read_whole(value: object) -> int | None:
    """Return the whole number that an id or a size stands for, also as 100.0 and "100"; None for anything else."""
    if isinstance(value, str) and WHOLE.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else None


def read_numbers(bbox: object) -> Sides | None:
    """Return four finite numbers, also those written as text; None for anything else."""
    if not isinstance(bbox, list) or len(bbox) != 4:
        return None
    numbers = [float(side) if isinstance(side, str) and NUMBER.fullmatch(side) else side for side in bbox]
    if not all(isinstance(side, int | float) and not isinstance(side, bool) for side in numbers):
        return None
    if not all(abs(side) < 1e9 for side in numbers):  # nor NaN; a whole number of any length
        return None
    return tuple(map(float, numbers))  # type: ignore[return-value]  # of four


def is_within_a_pixel(box: PlacedBox) -> bool:
    """Return True for four numbers from 0 to 1 in an image of more than a few pixels: fractions, in all likelihood."""
    return min(box.width, box.height) >= MIN_SIDE and all(0 <= side <= 1 for side in box.numbers)


def detect_form(boxes: Sequence[PlacedBox]) -> str:
    """Return the form of a file's boxes, a key of `FORMS`; "xywh" unless they are another for certain.

    Raises:
        ValueError: they are fractions, and more than one form of these fits.
    """
    # Without those from 0, 0, which are the same by corner and by size, and each once.
    telling = list({box for box in boxes if any(box.numbers[:2])})
    if boxes and all(map(is_within_a_pixel, boxes)):
        fitting = [form for form in FRACTIONS if all(_fits(FORMS[form](box), box) for box in boxes)]
        if len(fitting) != 1 or len(telling) < FEW:
            raise ValueError(
                "all boxes lie between 0 and 1: they are fractions of the image, and it is not certain in which order. "
                "Write bbox as [x, y, width, height] in pixels."
            )
        return fitting[0]
    outside = sum(not _fits(FORMS["xywh"](box), box) for box in telling)
    enough = FEW if outside > len(telling) / 10 else MANY
    if outside and len(telling) >= enough and all(_fits(box.numbers, box) for box in telling):
        return "xyxy"
    return "xywh"


def _fits(corners: Sides, box: PlacedBox) -> bool:
    x1, y1, x2, y2 = corners
    across, down = max(1, MARGIN * box.width), max(1, MARGIN * box.height)
    return -across <= x1 < x2 <= box.width + across and -down <= y1 < y2 <= box.height + down


def _scaled(numbers: Sides, box: PlacedBox) -> Sides:
    a, b, c, d = numbers
    return a * box.width, b * box.height, c * box.width, d * box.height


def _by_size(numbers: Sides) -> Sides:
    x, y, width, height = numbers
    return x, y, x + width, y + height


def _by_centre(numbers: Sides) -> Sides:
    x, y, width, height = numbers
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


FORMS = {  # -> x1, y1, x2, y2 in pixels
    "xywh": lambda box: _by_size(box.numbers),
    "xyxy": lambda box: box.numbers,
    "xywh fractions": lambda box: _by_size(_scaled(box.numbers, box)),
    "xyxy fractions": lambda box: _scaled(box.numbers, box),
    "centre fractions": lambda box: _by_centre(_scaled(box.numbers, box)),
}
FRACTIONS = ("xywh fractions", "xyxy fractions", "centre fractions")


def to_corners(box: PlacedBox, form: str) -> tuple[Sides, str | None]:
    """Return x1, y1, x2, y2 in pixels, and the cause of a repair, None where the box was as it should be.

    A negative width or height says that the other corner was given; within the image, that is certain.
    """
    x1, y1, x2, y2 = corners = FORMS[form](box)
    turned = min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
    if turned != corners and form == "xywh" and _fits(turned, box):
        return turned, "box reversed"
    return corners, None if form == "xywh" else REPAIRS[form in FRACTIONS]


REPAIRS = {False: "box by corners", True: "box in fractions"}


def clip(corners: Sides, width: int, height: int) -> tuple[list[float], bool] | None:
    """Return [x, y, width, height] inside the image, and True if most of the box is outside.

    None if what is inside is not at least a thousandth of a pixel a side.
    """
    x1, x2 = (min(max(x, 0.0), float(width)) for x in corners[::2])
    y1, y2 = (min(max(y, 0.0), float(height)) for y in corners[1::2])
    if x2 - x1 < 1e-3 or y2 - y1 < 1e-3:
        return None
    area = (corners[2] - corners[0]) * (corners[3] - corners[1])
    return [x1, y1, x2 - x1, y2 - y1], (x2 - x1) * (y2 - y1) < area / 2


__all__ = ["PlacedBox", "clip", "detect_form", "is_within_a_pixel", "read_numbers", "read_whole", "to_corners"]
