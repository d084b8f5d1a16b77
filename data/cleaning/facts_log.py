"""A log of the facts about images, in the order of the rows: a run that was killed reads no image again.

A line holds what tells an image from another (its name, size and time, or its bytes), and what was found.
"""

import json
import os
from collections.abc import Generator, Iterable
from dataclasses import astuple
from pathlib import Path

from ..files.hashing import hash_bytes
from ..rows.report import BadRowError
from .image_rules import ImageFacts, relative_path

LOG = ".clean_facts.jsonl"

Found = ImageFacts | BadRowError


class FactsLog:
    """The log in an output folder: what a stopped run wrote is read first, then it is written on.

    Args:
        folder: where it lies.
        root: the absolute folder that image paths are relative to.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        self.path, self.root = folder / LOG, root

    def read(self) -> Generator[Found | None, str | bytes, None]:
        """Take images, by `send`, and give what is known of each; the lines from the first unknown one on are dropped.

        It ends there, after a None.
        """
        found: Found | None = None
        end = 0
        if self.path.is_file():
            with self.path.open("rb") as lines:
                image = yield None
                for line in lines:
                    if (found := self._parse(line, image)) is None:
                        break
                    end += len(line)
                    image = yield found
            os.truncate(self.path, end)
        else:
            yield None
        yield None

    def write(self, images: Iterable[str | bytes], found: Iterable[Found]) -> None:
        """Write lines at the end."""
        rows = (
            [self._key(image), *(astuple(one) if isinstance(one, ImageFacts) else (one.cause, one.found))]
            for image, one in zip(images, found, strict=True)
        )
        with self.path.open("ab") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows).encode())

    def remove(self) -> None:
        """Remove the log, if there is one."""
        self.path.unlink(missing_ok=True)

    def _parse(self, line: bytes, image: str | bytes) -> Found | None:
        """Return what a line says of an image, None if it is of another one, or no whole line."""
        try:
            key, *values = json.loads(line) if line.endswith(b"\n") else [None]
            if key != self._key(image):
                return None
            return ImageFacts(*values) if len(values) > 2 else BadRowError(*values)
        except (ValueError, TypeError):
            return None

    def _key(self, image: str | bytes) -> str:
        if isinstance(image, bytes):
            return hash_bytes(image)
        try:
            status = os.stat(self.root / relative_path(image, self.root))
        except (OSError, ValueError):
            return image
        return f"{image}\0{status.st_size}\0{status.st_mtime_ns}"


__all__ = ["LOG", "FactsLog"]
