"""Images with their captions in one or more languages: the one form that all readers of caption files give.

A row is {"image_id", "image", "split", "captions": {language: [caption, ...]}, "source"}. `image` is a path, `image_id`
as `canonical_image_id` gives it, `split` "train", "val", "test" or another word; `source` says which reader it comes
from. All captions of an image are right for it.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

from ..rows.report import BadRowError, BadRowReport
from ..rows.scripts import SCRIPTS
from ..rows.text import check_unicode, clean_caption, clean_each
from ..rows.types import CaptionRow
from ..rows.validation import path_below_root

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
        if self.image_root is not None:
            self.image_root = Path(os.path.abspath(self.image_root))
        self.report = BadRowReport(self.source, on_bad_row=self.on_bad_row)

    def __iter__(self) -> Iterator[CaptionRow]:
        """Yield the good rows.

        Raises:
            TooManyBadRowsError: at the end, with the counts; too many rows are bad, or all.
            ValueError: the source is of another form, or a row is bad and `on_bad_row` is "raise".
        """
        report = self.report = BadRowReport(self.source, on_bad_row=self.on_bad_row)
        yield from report.check_rows(islice(self.records(report), self.max_rows), self._check)
        report.raise_above(self.max_bad_fraction)
        if not self.is_logged:
            report.log()
            self.is_logged = True

    def _check(self, place: int | str, record: dict) -> CaptionRow:
        image_id, image, split = (record[name] for name in ("image_id", "image", "split"))
        if not isinstance(image, str) or not image:
            raise BadRowError("image has no name", f"the image is {image!r}")
        check_unicode(image)
        if not isinstance(split, str) or not SPLIT.fullmatch(split):
            raise BadRowError("bad split", repr(split)[:80])
        captions = self._captions(record["captions"], place)
        if self.image_root is not None:
            image = find_image(image, self.image_root)
        return {"image_id": image_id, "image": image, "split": split, "captions": captions, "source": self.name}

    def _captions(self, found: dict[str, list], place: int | str) -> dict[str, list[str]]:
        def clean(language: str, text: object) -> tuple[str, str]:
            if language not in SCRIPTS:
                raise BadRowError("unknown language", f"{language!r}, not one of {', '.join(SCRIPTS)}")
            return language, clean_caption(text)

        listed = ((language, text) for language, texts in found.items() for text in texts)
        cleaned, errors = clean_each(listed, lambda pair: clean(*pair))
        for error in errors:
            cause = error.cause if error.cause == "unknown language" else "caption dropped"
            self.report.add_repair(cause, place, str(error))
        captions: dict[str, list[str]] = {}
        for language, text in cleaned:
            captions.setdefault(language, []).append(text)
        return captions


def find_image(image: str, root: Path) -> str:
    """Return the path of an image below the root: as it is, or without its folders where the root is its folder itself.

    Raises:
        BadRowError: neither is there.
    """
    try:
        found = path_below_root(image, root)
    except BadRowError as error:
        name = image.rpartition("/")[2]
        if error.cause != "file missing" or name == image or not (root / name).is_file():
            raise
        return name
    return image if image.isascii() else os.path.relpath(found, root)


__all__ = ["SPLIT", "CaptionRows", "Record", "find_image"]
