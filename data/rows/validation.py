"""Turn one row as a reader found it into one that can be trained on, or say why it cannot."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..files.image_ids import find_file, name_in_other_case
from .report import BadRowError, BadRowReport
from .text import check_unicode, clean_caption, clean_each
from .types import PairRow, StoredImage

MAX_EDGE = 1e6  # no image has so many pixels a side


@dataclass
class RowChecker:
    """Makes a `PairRow` of the fields of a row.

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
    report: BadRowReport

    def check(self, row: int | str, fields: Mapping[str, object]) -> PairRow:
        """Return the row with `image`, `text` and `boxes` (None where there are none).

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
        captions, errors = clean_each(value, lambda caption: self._cut(clean_caption(caption), row))
        for error in errors:
            self.report.add_repair("caption dropped", row, str(error))
        return captions

    def _cut(self, text: str, row: int | str) -> str:
        if self.max_text_length is not None and len(text) > self.max_text_length:
            self.report.add_repair("text cut", row, f"{len(text)} characters")
            return clean_caption(text[: self.max_text_length])
        return text

    def _image(self, value: object) -> StoredImage:
        if isinstance(value, dict):
            value = value.get("bytes") if value.get("bytes") is not None else value.get("path")
        if isinstance(value, str):
            value = path_below_root(value, self.root)
        elif not isinstance(value, bytes):
            raise BadRowError("missing field", f"the image is {type(value).__name__}, neither a path nor bytes")
        if value == b"":
            raise BadRowError("empty file", "an image of 0 bytes")
        if self.check_image is not None:
            try:
                self.check_image(value)
            except ValueError as error:
                raise BadRowError.of_image(error) from error
        return {"bytes": None, "path": value} if isinstance(value, str) else {"bytes": value, "path": None}

    def _boxes(self, value: object, row: int | str) -> list[list[float]]:
        good = []
        for box in value if isinstance(value, list) else [value]:
            if edges := _edges(box):
                good.append(edges)
            else:
                self.report.add_repair("box dropped", row, repr(box)[:80])
        return good


def path_below_root(value: str, root: Path) -> str:
    """Return the absolute path of an image, as its names are on the disk: in NFC or NFD, whatever the value is in.

    Args:
        value: as the user wrote it, relative to the root or absolute.
        root: the absolute folder that it must not leave.

    Raises:
        BadRowError: it is a URL, leaves the root, does not exist or is no file.
    """
    path = resolve_path(value, root)
    if not os.path.isfile(path):  # False, where Path.is_file raises: a name too long
        if os.path.exists(path):
            raise BadRowError("file missing", f"{shorten(path)} is a folder, a pipe or a device")
        other = name_in_other_case(path)
        raise BadRowError("file missing", shorten(path) + (f"; there is {other!r}, in another case" if other else ""))
    return path


def resolve_path(value: str, root: Path) -> str:
    """Return what `path_below_root` does, also where there is no such file."""
    check_unicode(value)
    if "://" in value:
        raise BadRowError("image is a URL", value[:200])
    # Lexical, so that a link which the user put inside the folder may lead out of it.
    path = find_file(os.path.abspath(os.path.join(root, value)))
    if not f"{path}{os.sep}".startswith(os.path.join(root, "")):
        raise BadRowError("path leaves image root", f"{value[:200]!r} is not below {root}")
    return path


def shorten(path: str) -> str:
    """Return a path in quotation marks, without its middle where it is long."""
    return repr(path if len(path) <= 200 else f"{path[:80]} ... {path[-80:]}")


def _edges(box: object) -> list[float] | None:
    """Return the edges of a box, None if it is none."""
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(edge, int | float) for edge in box):
        return None
    x1, y1, x2, y2 = box
    is_box = all(abs(edge) < MAX_EDGE for edge in box) and x1 < x2 and y1 < y2  # also false for NaN
    return list(map(float, box)) if is_box else None


__all__ = ["MAX_EDGE", "RowChecker", "path_below_root", "resolve_path"]
