"""One row of a file of pairs while it is cleaned: its image, and those of its captions that are left."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..files.hashing import fingerprint
from ..rows.report import BadRowError
from .image_rules import relative_path
from .settings import CleanReport
from .text_rules import rewrite_text

CaptionRule = Callable[[str, int], str | None]  # caption and the image's key -> what is wrong, or None


@dataclass
class CrawlRow:
    """A row with an image and at least one caption.

    Attributes:
        place: its number, or its file and its number.
        fields: as they were read.
        columns: (image, text).
        image: encoded bytes, or a path, relative to the image root if it lies below it.
        key: fingerprint of `image`.
        captions: those left.
    """

    place: int | str
    fields: dict
    columns: tuple[str, str]
    image: str | bytes
    key: int
    captions: list

    @classmethod
    def parse(cls, place: int | str, fields: dict, columns: tuple[str, str], root: Path) -> "CrawlRow":
        """Return the row of some fields.

        Raises:
            BadRowError: image or text is missing.
        """
        for column in columns:
            if fields.get(column) is None:
                raise BadRowError("missing field", f"no {column!r} among {list(fields)}")
        image, text = (fields[column] for column in columns)
        if isinstance(image, dict):
            image = image.get("bytes") if image.get("bytes") is not None else image.get("path")
        if not isinstance(image, str | bytes):
            raise BadRowError("missing field", f"the image is {type(image).__name__}, neither a path nor bytes")
        if isinstance(image, str):
            with contextlib.suppress(BadRowError):  # which the rule `image_readable` meets again
                image = relative_path(image, root)
        captions = list(text) if isinstance(text, list) else [text]
        if not captions:
            raise BadRowError("empty text", "an empty list")
        key = fingerprint(image if isinstance(image, bytes) else image.encode(errors="surrogatepass"))
        return cls(place, fields, columns, image, key, captions)

    def rewrite(self, steps: Sequence[Callable[[str], str]], report: CleanReport) -> bool:
        """Rewrite the captions and drop those that cannot be read; return whether any is left."""
        rewritten, errors = [], []
        for caption in self.captions:
            try:
                text = rewrite_text(caption, steps)
            except BadRowError as error:
                errors.append(error)
                continue
            rewritten.append(text)
            if text != caption:
                report.add_change(self.place, caption, text)
        self.captions = rewritten
        for position, fault in enumerate(errors, start=1):
            rows = not rewritten and position == len(errors)
            report.drop("readable_row", self.place, fault.found, rows=rows, captions=1, cause=fault.cause)
        return bool(rewritten)

    def keep(self, rule: str, fault_of: CaptionRule, report: CleanReport) -> bool:
        """Drop the captions in which a rule finds a fault; return whether any is left."""
        faults = [fault_of(caption, self.key) for caption in self.captions]
        self.captions = [caption for caption, fault in zip(self.captions, faults, strict=True) if fault is None]
        if found := [fault for fault in faults if fault is not None]:
            report.drop(rule, self.place, found[0], rows=not self.captions, captions=len(found))
        return bool(self.captions)

    def drop(self, rule: str, found: str, report: CleanReport, *, cause: str = "") -> None:
        """Count the whole row as left out for its image."""
        found = f"{self.image!r}: {found}" if isinstance(self.image, str) else found
        report.drop(rule, self.place, found, rows=1, captions=len(self.captions), cause=cause)

    def to_fields(self) -> dict:
        """Return the fields as they are written."""
        image_column, text_column = self.columns
        image, text = (self.fields[column] for column in self.columns)
        if isinstance(image, dict):
            image = image | ({"path": self.image} if isinstance(self.image, str) else {})
        elif isinstance(image, bytes):
            image = {"bytes": image, "path": None}
        else:
            image = self.image
        captions = self.captions if isinstance(text, list) else self.captions[0]
        return {**self.fields, image_column: image, text_column: captions}


__all__ = ["CaptionRule", "CrawlRow"]
