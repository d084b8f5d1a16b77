"""Rows before they are embedded: images by id, path, size and modified time, or sentences."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ...data.files.image_ids import name_as_text
from ...data.files.image_listing import image_suffixes, list_images, looks_like_image
from ...data.rows.report import BadRowError
from ..embed_inputs import TEXT_COLUMN, EmbedInputs


class SourceRow(NamedTuple):
    """A row before it is embedded: an image, or a sentence, whose path is None."""

    id: str
    item: str | Path  # the sentence, or where the image is now
    path: str | None = None  # as the index stores it
    size: int = 0
    modified: int = 0  # nanoseconds

    def is_as(self, other: "SourceRow") -> bool:
        """Return whether the other is the same image, unchanged, or the same sentence."""
        return (self.path, self.size, self.modified) == (other.path, other.size, other.modified)


@dataclass
class IndexSource:
    """The rows of a source.

    Attributes:
        source: as given.
        rows: each id once.
        bad: place and reason of what is no row.
        not_looked_at: what a folder holds beside its images, by kind.
    """

    source: Path
    rows: list[SourceRow] = field(default_factory=list)
    bad: list[tuple[str, BadRowError]] = field(default_factory=list)
    not_looked_at: Counter[str] = field(default_factory=Counter)

    @classmethod
    def images(cls, source: Path, base: Path, *, image_root: Path | None = None) -> "IndexSource":
        """Return the images of a folder, a list (see `list_images`), or one image.

        An image in a folder, or one without a list, has its path as id: relative to `base` where it lies below it. In a
        list it has the list's id.

        Raises:
            FileNotFoundError: no such source.
            ValueError: it holds no image, or two images of one id.
        """
        found = cls(source)
        is_image = source.is_file() and (source.suffix.lower() in image_suffixes() or looks_like_image(str(source)))
        if is_image:
            listed = [("", source)]
        else:
            listed = list_images(source, image_root=image_root, ignored=found.not_looked_at)
        for name, path in listed:
            place = name_as_text(_below(path, base))
            row_id = place if is_image or source.is_dir() else name
            try:
                status = os.stat(path)
            except OSError as error:
                cause = "file missing" if isinstance(error, FileNotFoundError) else "unreadable"
                found.bad.append((row_id, BadRowError(cause, f"{path}: {error.strerror}")))
                continue
            found.rows.append(SourceRow(row_id, path, place, status.st_size, status.st_mtime_ns))
        return found

    @classmethod
    def texts(
        cls, source: Path, *, encoding: str | None = None, text_column: str = TEXT_COLUMN, split: str | None = None
    ) -> "IndexSource":
        """Return the sentences of a text file, a line each, or the captions of a file of pairs; each is its own id.

        Raises:
            FileNotFoundError: no such source.
            ValueError: it is a folder or an image, or cannot be read.
        """
        inputs = EmbedInputs.open(source, encoding=encoding, text_column=text_column, split=split)
        if inputs.are_images:
            raise ValueError(f"{source} holds images; leave --texts out.")
        found = cls(source)
        seen = dict[str, SourceRow]()
        for place, item in _items(inputs):
            if isinstance(item, BadRowError):
                found.bad.append((place, item))
            else:
                seen.setdefault(str(item), SourceRow(str(item), str(item)))
        found.rows = list(seen.values())
        return found


def _items(inputs: EmbedInputs) -> Iterator[tuple[str, str | Path | BadRowError]]:
    for piece in inputs.pieces(1000):
        yield from piece


def _below(path: Path, base: Path) -> str:
    absolute = Path(os.path.abspath(path))
    return absolute.relative_to(base).as_posix() if absolute.is_relative_to(base) else str(absolute)


__all__ = ["IndexSource", "SourceRow"]
