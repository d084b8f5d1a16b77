"""Images that lie in a folder of pairs and that no row names: forgotten rows, or images under another name."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ..files.image_listing import walk_images
from .report import BadRowError
from .validation import resolve_path

Place = TypeVar("Place")
UNLISTED = "images that no row names"


@dataclass
class UnlistedImages:
    """Sees the rows of a folder, and counts its other images. Memory grows by some 60 bytes a row.

    Attributes:
        folder: that is searched; None: nothing is counted.
        column: of the rows, with the path of the image.
    """

    folder: Path | None
    column: str
    named: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, source: str | Path, column: str, image_root: str | Path | None) -> "UnlistedImages":
        """Return the counter for a source of pairs: only a folder that holds rows and images is searched."""
        return cls(Path(source) if image_root is None and os.path.isdir(source) else None, column)

    def watch(self, rows: Iterable[tuple[Place, dict | BadRowError]]) -> Iterator[tuple[Place, dict | BadRowError]]:
        """Yield the rows as they are."""
        for place, fields in rows:
            if self.folder is not None and isinstance(fields, dict):
                self._add(fields.get(self.column), Path(os.path.abspath(self.folder)))
            yield place, fields

    def count(self) -> Counter[str]:
        """Return the number of images that no row seen so far names; empty if none, or if rows hold no paths."""
        if self.folder is None or not self.named:
            return Counter()
        number = sum(_identify(path) not in self.named for path in walk_images(self.folder))
        return Counter({UNLISTED: number} if number else {})

    def _add(self, value: object, root: Path) -> None:
        path = value.get("path") if isinstance(value, dict) and value.get("bytes") is None else value
        if isinstance(path, str):
            try:
                self.named.add(_identify(resolve_path(path, root)))
            except (BadRowError, OSError, ValueError):
                return  # the row is counted as one whose image cannot be used


def _identify(path: str | Path) -> int:
    """Return what is the same for all names of a file."""
    status = os.stat(path)
    return hash((status.st_dev, status.st_ino))


__all__ = ["UNLISTED", "UnlistedImages"]
