"""The user's own image-text pairs: a file in, a `datasets.Dataset` and an account of every row left out."""

import atexit
import itertools
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .bad_rows import BadRowError, BadRowReport, TooManyBadRowsError
from .caption_cleaning import check_unicode, clean_caption
from .pair_files import find_pair_file, read_rows

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

MAX_EDGE = 1e6  # no picture has so many pixels a side


def read_pairs(
    source: str | Path,
    *,
    image_root: str | Path | None = None,
    image_column: str = "image",
    text_column: str = "text",
    max_rows: int | None = None,
    on_bad_row: Literal["skip", "raise"] = "skip",
    max_bad_fraction: float = 0.1,
    max_text_length: int | None = None,
    check_image: Callable[[str | bytes], object] | None = None,
) -> "tuple[Dataset, BadRowReport]":
    """The pairs of a file as a dataset, and the report of what was left out or repaired.

    The file is read as a stream and the kept rows go to a temporary Arrow file that lives as long as the process, so
    that memory does not grow with the data. Paths stay paths; bytes stay encoded.

    Args:
        source: a .jsonl, .csv, .tsv (with a header, no quoting) or .parquet file, or an image folder that holds
            metadata.jsonl, metadata.csv or captions.tsv. JSON lines may also be those of the released BriVL code
            (image_id, sentences, bbox).
        image_root: the folder that image paths are relative to and must not leave; by default the file's own.
        image_column: holds a path, bytes, or {"bytes", "path"}. `file_name` is read where there is no `image`.
        text_column: holds a string, or a list of captions of the same picture.
        max_rows: read no more rows than this.
        on_bad_row: leave a bad row out and count it, or raise at the first one.
        max_bad_fraction: raise if a greater share of the rows is bad.
        max_text_length: cut longer texts to so many characters, and count them.
        check_image: called with each path or each picture's bytes; raises ValueError, whose `cause` attribute, if it
            has one, is the cause to count by. Without it a picture only has to exist.

    Returns:
        A dataset with `image` (`datasets.Image`), `text` (a string, or a list of strings if the first row has a list),
        `row_number` (counts from 1; the line number in text files) and, if any row has some, `boxes` (absolute pixels,
        [x1, y1, x2, y2]); and the report.

    Raises:
        FileNotFoundError: no such file, or no known file in the folder.
        ValueError: the file lacks a column, or a row is bad and `on_bad_row` is "raise".
        TooManyBadRowsError: too many rows are bad, or there are no rows at all.
    """
    if on_bad_row not in ("skip", "raise"):
        raise ValueError(f"on_bad_row is {on_bad_row!r}; it must be 'skip' or 'raise'.")
    file = find_pair_file(Path(source))
    root = Path(os.path.abspath(image_root if image_root is not None else file.parent))
    report = BadRowReport(source=file)
    checker = _RowChecker(root, (image_column, text_column), max_text_length, check_image, report)
    dataset = _write_dataset(_good_rows(file, checker, max_rows, on_bad_row))
    if report.counts or report.repairs:
        logger.warning("%s", report)
    if not report.rows_read:
        raise TooManyBadRowsError(f"{file} holds no rows; write one pair a line.")
    if report.bad_fraction > max_bad_fraction or dataset is None:
        raise TooManyBadRowsError(f"More than {max_bad_fraction:.0%} of the rows (or all) are bad.\n{report}")
    return dataset, report


@dataclass
class _RowChecker:
    """Turns the fields of one row into a row of the dataset, or raises `BadRowError`."""

    root: Path
    columns: tuple[str, str]
    max_text_length: int | None
    check_image: Callable[[str | bytes], object] | None
    report: BadRowReport
    lists_of_texts: bool | None = None  # decided by the first good row

    def check(self, number: int, fields: dict) -> dict:
        image_column, text_column = self.columns
        for column in self.columns:
            if fields.get(column) is None:
                raise BadRowError("missing field", f"no {column!r} among {list(fields)}")
        image = self._image(fields[image_column])
        text = self._text(fields[text_column], number)
        if self.lists_of_texts is None:
            self.lists_of_texts = isinstance(text, list)
        if isinstance(text, list) and not self.lists_of_texts:
            raise BadRowError("text list after strings", repr(text)[:80])
        if self.lists_of_texts and isinstance(text, str):
            text = [text]
        boxes = self._boxes(fields["boxes"], number) if fields.get("boxes") is not None else None
        return {"image": image, "text": text, "boxes": boxes, "row_number": number}

    def _text(self, value: object, number: int) -> str | list[str]:
        if not isinstance(value, list):
            return self._cut(clean_caption(value), number)
        captions, errors = [], []
        for caption in value:
            try:
                captions.append(self._cut(clean_caption(caption), number))
            except BadRowError as error:
                errors.append(error)
        if not captions:
            raise errors[0] if errors else BadRowError("empty text", "[]")
        for error in errors:
            self.report.add_repair("caption dropped", number, str(error))
        return captions

    def _cut(self, text: str, number: int) -> str:
        if self.max_text_length is not None and len(text) > self.max_text_length:
            self.report.add_repair("text cut", number, f"{len(text)} characters")
            return text[: self.max_text_length]
        return text

    def _image(self, value: object) -> dict[str, bytes | str | None]:
        stored = {"bytes": None, "path": None}
        if isinstance(value, dict):
            value = value.get("bytes") if value.get("bytes") is not None else value.get("path")
        if isinstance(value, str):
            stored["path"] = self._path_below_root(value)
        elif isinstance(value, bytes):
            stored["bytes"] = value
        else:
            raise BadRowError("missing field", f"the image is {type(value).__name__}, neither a path nor bytes")
        if value == b"":
            raise BadRowError("empty file", "a picture of 0 bytes")
        if self.check_image is not None:
            try:
                self.check_image(stored["path"] or value)
            except ValueError as error:
                raise BadRowError(getattr(error, "cause", None) or "bad image", str(error)) from error
        return stored

    def _path_below_root(self, value: str) -> str:
        check_unicode(value)
        if "://" in value:
            raise BadRowError("image is a URL", value)
        # Lexical, so that a link which the user put inside the folder may lead out of it.
        path = Path(os.path.abspath(self.root / value))
        if not path.is_relative_to(self.root):
            raise BadRowError("path leaves image root", f"{value!r} is not below {self.root}")
        if not os.path.isfile(path):  # False, where Path.is_file raises: a name too long
            raise BadRowError("file missing", repr(str(path)))
        return str(path)

    def _boxes(self, value: object, number: int) -> list[list[float]]:
        good = []
        for box in value if isinstance(value, list) else [value]:
            if _is_box(box):
                good.append([float(edge) for edge in box])
            else:
                self.report.add_repair("box dropped", number, repr(box)[:80])
        return good


def _is_box(box: object) -> bool:
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(edge, int | float) for edge in box):
        return False
    x1, y1, x2, y2 = box
    return all(abs(edge) < MAX_EDGE for edge in box) and x1 < x2 and y1 < y2  # also false for NaN


def _good_rows(file: Path, checker: _RowChecker, max_rows: int | None, on_bad_row: str) -> Iterator[dict]:
    report = checker.report
    for number, fields in itertools.islice(read_rows(file, checker.columns), max_rows):
        report.rows_read += 1
        try:
            if isinstance(fields, BadRowError):
                raise fields
            row = checker.check(number, fields)
        except BadRowError as error:
            if on_bad_row == "raise":
                raise ValueError(report.describe(error.cause, number, error.found)) from error
            report.add_bad_row(error, number)
            continue
        report.rows_kept += 1
        yield row


def _write_dataset(rows: Iterator[dict]) -> "Dataset | None":
    """The rows as a dataset that is mapped from a temporary Arrow file, or None if there are none."""
    from datasets import Dataset, Features, Image, List, Value
    from datasets.arrow_writer import ArrowWriter

    first = next(rows, None)
    if first is None:
        return None
    text = List(Value("string")) if isinstance(first["text"], list) else Value("string")
    boxes = List(List(Value("float32"), length=4))
    features = Features({"image": Image(), "text": text, "boxes": boxes, "row_number": Value("int64")})
    folder = tempfile.mkdtemp(prefix="wenlan_pairs_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file, has_boxes = f"{folder}/pairs.arrow", False
    with ArrowWriter(path=file, features=features) as writer:
        for row in itertools.chain([first], rows):
            has_boxes = has_boxes or row["boxes"] is not None
            writer.write(row)
        writer.finalize()
    dataset = Dataset.from_file(file)
    return dataset if has_boxes else dataset.remove_columns("boxes")


__all__ = ["read_pairs"]
