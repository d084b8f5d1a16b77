"""Turn one row as a reader found it into one that can be trained on, or say why it cannot."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..files.image_ids import find_file, name_in_other_case
from .report import BadRowError, BadRowReport, TooManyBadRowsError
from .text import check_unicode, clean_caption, clean_each
from .types import PairRow, StoredImage

MAX_EDGE = 1e6  # no image has so many pixels a side
MARGIN = 0.02  # by which rounded and careless boxes leave their image, of its side


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
    boxes_kept: int = 0
    boxes_dropped: int = 0

    def check(self, row: int | str, fields: Mapping[str, object]) -> PairRow:
        """Return the row with `image`, `text` and `boxes` (None where there are none).

        Raises:
            BadRowError: the row cannot be used.
        """
        image_column, text_column = self.columns
        for column in self.columns:
            if fields.get(column) is None:
                raise BadRowError("missing field", f"no {column!r} among {list(fields)}")
        image, size = self._image(fields[image_column])
        text = self._text(fields[text_column], row)
        boxes = self._boxes(fields["boxes"], row, size) if fields.get("boxes") is not None else None
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

    def _image(self, value: object) -> tuple[StoredImage, tuple[int, int] | None]:
        """Return the image, and its width and height if `check_image` tells them."""
        size = None
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
                size = getattr(self.check_image(value), "size", None)
            except ValueError as error:
                raise BadRowError.of_image(error) from error
        stored = StoredImage(bytes=None, path=value) if isinstance(value, str) else StoredImage(bytes=value, path=None)
        return stored, size

    def _boxes(self, value: object, row: int | str, size: tuple[int, int] | None) -> list[list[float]]:
        good, given = [], value if isinstance(value, list) else [value]
        for box in given:
            edges, cause = _edges(box), "box dropped"
            if edges and max(edges) <= 1:
                edges, cause = None, "box within a pixel"
            elif edges and size and not _is_inside(edges, size):
                edges, cause = None, "box outside"
            if edges:
                good.append(edges)
            else:
                self.report.add_repair(cause, row, repr(box)[:80])
        self.boxes_kept += len(good)
        self.boxes_dropped += len(given) - len(good)
        if given and not good:
            raise BadRowError("no box can be used", f"{repr(given)[:80]}")
        return good

    def raise_above(self, max_bad_fraction: float) -> None:
        """Raise TooManyBadRowsError if a greater fraction of the boxes of the rows cannot be used."""
        total = self.boxes_kept + self.boxes_dropped
        if self.boxes_dropped > max_bad_fraction * total:
            found = f"{self.boxes_dropped} of {total} boxes cannot be used, more than {max_bad_fraction:.0%}"
            raise TooManyBadRowsError(f"{found}; are they [x1, y1, x2, y2] in pixels?\n{self.report}")


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


def _is_inside(edges: list[float], size: tuple[int, int]) -> bool:
    """Return True unless a box leaves its image by more than carelessness."""
    x1, y1, x2, y2 = edges
    across, down = (max(1.0, MARGIN * side) for side in size)
    return x1 >= -across and y1 >= -down and x2 <= size[0] + across and y2 <= size[1] + down


def _edges(box: object) -> list[float] | None:
    """Return the edges of a box, None if it is none."""
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(edge, int | float) for edge in box):
        return None
    x1, y1, x2, y2 = box
    is_box = all(abs(edge) < MAX_EDGE for edge in box) and x1 < x2 and y1 < y2  # also false for NaN
    return list(map(float, box)) if is_box else None


__all__ = ["MAX_EDGE", "RowChecker", "path_below_root", "resolve_path"]
