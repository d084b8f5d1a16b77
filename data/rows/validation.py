"""One row as a reader found it to one row that can be trained on, or the reason why it cannot."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .report import BadRowError
from .text import check_unicode, clean_caption

MAX_EDGE = 1e6  # no image has so many pixels a side


class RepairCounter(Protocol):
    """Where changes to a kept row are counted: `BadRowReport` and `SharedBadRows`."""

    def add_repair(self, cause: str, row: int | str, found: str) -> None:
        """Count one."""


@dataclass
class RowChecker:
    """Turns the fields of a row into `image`, `text` and `boxes`.

    Attributes:
        root: the absolute folder that image paths are relative to and must not leave.
        columns: the names of the fields that hold image and text.
        max_text_length: longer texts are cut to so many characters.
        check_image: called with each path or each image's bytes; raises ValueError, whose `cause` attribute, if it
            has one, is the cause to count by.
        report: where repairs are counted.
    """

    root: Path
    columns: tuple[str, str]
    max_text_length: int | None
    check_image: Callable[[str | bytes], object] | None
    report: RepairCounter

    def check(self, row: int | str, fields: dict) -> dict:
        """Return the row as {"image": {"bytes", "path"}, "text": string or list of strings, "boxes": list or None}.

        Raises:
            BadRowError: the row cannot be used.
        """
        image_column, text_column = self.columns
        for column in self.columns:
            if fields.get(column) is None:
                raise BadRowError("missing field", f"no {column!r} among {list(fields)}")
        image = self._image(fields[image_column])
        text = self._text(fields[text_column], row)
        boxes = self._boxes(fields["boxes"], row) if fields.get("boxes") is not None else None
        return {"image": image, "text": text, "boxes": boxes}

    def _text(self, value: object, row: int | str) -> str | list[str]:
        if not isinstance(value, list):
            return self._cut(clean_caption(value), row)
        captions, errors = [], []
        for caption in value:
            try:
                captions.append(self._cut(clean_caption(caption), row))
            except BadRowError as error:
                errors.append(error)
        if not captions:
            raise errors[0] if errors else BadRowError("empty text", "[]")
        for error in errors:
            self.report.add_repair("caption dropped", row, str(error))
        return captions

    def _cut(self, text: str, row: int | str) -> str:
        if self.max_text_length is not None and len(text) > self.max_text_length:
            self.report.add_repair("text cut", row, f"{len(text)} characters")
            return text[: self.max_text_length]
        return text

    def _image(self, value: object) -> dict[str, bytes | str | None]:
        stored = {"bytes": None, "path": None}
        if isinstance(value, dict):
            value = value.get("bytes") if value.get("bytes") is not None else value.get("path")
        if isinstance(value, str):
            stored["path"] = path_below_root(value, self.root)
        elif isinstance(value, bytes):
            stored["bytes"] = value
        else:
            raise BadRowError("missing field", f"the image is {type(value).__name__}, neither a path nor bytes")
        if value == b"":
            raise BadRowError("empty file", "an image of 0 bytes")
        if self.check_image is not None:
            try:
                self.check_image(stored["path"] or value)
            except ValueError as error:
                raise BadRowError(getattr(error, "cause", None) or "bad image", str(error)) from error
        return stored

    def _boxes(self, value: object, row: int | str) -> list[list[float]]:
        good = []
        for box in value if isinstance(value, list) else [value]:
            if _is_box(box):
                good.append([float(edge) for edge in box])
            else:
                self.report.add_repair("box dropped", row, repr(box)[:80])
        return good


def path_below_root(value: str, root: Path) -> str:
    """Return the absolute path of an image.

    Args:
        value: as the user wrote it, relative to the root or absolute.
        root: the absolute folder that it must not leave.

    Raises:
        BadRowError: it is a URL, leaves the root, or does not exist.
    """
    check_unicode(value)
    if "://" in value:
        raise BadRowError("image is a URL", value)
    # Lexical, so that a link which the user put inside the folder may lead out of it.
    path = Path(os.path.abspath(root / value))
    if not path.is_relative_to(root):
        raise BadRowError("path leaves image root", f"{value!r} is not below {root}")
    if not os.path.isfile(path):  # False, where Path.is_file raises: a name too long
        raise BadRowError("file missing", repr(str(path)))
    return str(path)


def _is_box(box: object) -> bool:
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(edge, int | float) for edge in box):
        return False
    x1, y1, x2, y2 = box
    return all(abs(edge) < MAX_EDGE for edge in box) and x1 < x2 and y1 < y2  # also false for NaN


__all__ = ["RepairCounter", "RowChecker", "path_below_root"]
