"""Images with their captions in one or more languages: the one form that all readers of caption files give.

A row is {"image_id", "image", "split", "captions": {language: [caption, ...]}, "source"}. `image` is a path, `image_id`
as `canonical_image_id` gives it, `split` "train", "val", "test" or another word; `source` says which reader it comes
from. All captions of an image are right for it.
"""

import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

from ..rows.report import BadRowError, BadRowReport, TooManyBadRowsError, describe_row
from ..rows.scripts import SCRIPTS
from ..rows.text import check_unicode, clean_caption
from ..rows.validation import path_below_root

logger = logging.getLogger(__name__)

SPLIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # it becomes the name of a folder

# What a reader yields: its place in the source, and a row without `source`, unchecked, or why there is none.
Record = tuple[int | str, dict | BadRowError]


@dataclass
class CaptionRows:
    """The good rows of a source, read anew in every pass.

    Attributes:
        name: of the source in rows and messages.
        source: the file or folder.
        records: gives all rows as they are in the source, and counts in the report what belongs to no row.
        image_root: the folder of the images; if given, each must be there, with or without the folders in its path.
        max_rows: of the source that are read.
        on_bad_row: leave a bad row out and count it, or raise at the first one.
        max_bad_fraction: a greater fraction of bad rows is an error at the end of a pass.
        report: of the latest pass.
        is_logged: a pass has said what was bad; the next ones are silent.
    """

    name: str
    source: Path
    records: Callable[[BadRowReport], Iterator[Record]]
    image_root: Path | None = None
    max_rows: int | None = None
    on_bad_row: Literal["skip", "raise"] = "skip"
    max_bad_fraction: float = 0.1
    report: BadRowReport = field(init=False)
    is_logged: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if self.on_bad_row not in ("skip", "raise"):
            raise ValueError(f"on_bad_row is {self.on_bad_row!r}; it must be 'skip' or 'raise'.")
        if self.image_root is not None:
            self.image_root = Path(os.path.abspath(self.image_root))
        self.report = BadRowReport(self.source)

    def __iter__(self) -> Iterator[dict]:
        """Yield the good rows.

        Raises:
            TooManyBadRowsError: at the end, with the counts; too many rows are bad, or all.
            ValueError: the source is of another form, or a row is bad and `on_bad_row` is "raise".
        """
        report = self.report = BadRowReport(self.source)
        for place, record in islice(self.records(report), self.max_rows):
            report.rows_read += 1
            try:
                if isinstance(record, BadRowError):
                    raise record
                row = self._check(record, place)
            except BadRowError as error:
                if self.on_bad_row == "raise":
                    raise ValueError(describe_row(self.source, place, error.cause, error.found)) from error
                report.add_bad_row(error, place)
                continue
            report.rows_kept += 1
            yield row
        if (report.counts or report.repairs) and not self.is_logged:
            logger.warning("%s", report)
            self.is_logged = True
        if not report.rows_kept or report.bad_fraction > self.max_bad_fraction:
            raise TooManyBadRowsError(f"More than {self.max_bad_fraction:.0%} of the rows (or all) are bad.\n{report}")

    def _check(self, record: dict, place: int | str) -> dict:
        image, split = record["image"], record["split"]
        if not isinstance(image, str) or not image:
            raise BadRowError("image has no name", f"the image is {image!r}")
        check_unicode(image)
        if not isinstance(split, str) or not SPLIT.fullmatch(split):
            raise BadRowError("bad split", repr(split)[:80])
        captions = self._captions(record["captions"], place)
        if self.image_root is not None:
            image = find_image(image, self.image_root)
        return {
            "image_id": record["image_id"],
            "image": image,
            "split": split,
            "captions": captions,
            "source": self.name,
        }

    def _captions(self, found: dict[str, list], place: int | str) -> dict[str, list[str]]:
        captions, errors = {}, []
        for language, texts in found.items():
            if language not in SCRIPTS:
                errors.append(BadRowError("unknown language", f"{language!r}, not one of {', '.join(SCRIPTS)}"))
                continue
            for text in texts:
                try:
                    captions.setdefault(language, []).append(clean_caption(text))
                except BadRowError as error:
                    errors.append(error)
        captions = {language: texts for language, texts in captions.items() if texts}
        if not captions:
            raise errors[0] if errors else BadRowError("empty text", "there is no caption")
        for error in errors:
            cause = error.cause if error.cause == "unknown language" else "caption dropped"
            self.report.add_repair(cause, place, str(error))
        return captions


def find_image(image: str, root: Path) -> str:
    """Return the path of an image below the root: as it is, or without its folders where the root is its folder itself.

    Raises:
        BadRowError: neither is there.
    """
    try:
        path_below_root(image, root)
    except BadRowError as error:
        name = image.rpartition("/")[2]
        if error.cause != "file missing" or name == image or not (root / name).is_file():
            raise
        return name
    return image


__all__ = ["SPLIT", "CaptionRows", "Record", "find_image"]
