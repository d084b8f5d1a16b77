"""The splits of a file of pairs: its column `split`, or images that are held out where it has none."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..files.hashing import fingerprint
from ..rows.report import BadRowError
from .dataset import stored_image

if TYPE_CHECKING:
    from datasets import Dataset

    from ..rows.types import StoredImage

SPLIT = "split"  # the column
HELD_OUT = "held-out"  # the split that `hold_out` makes
OTHER_NAMES = {"training": "train", "val": "validation", "valid": "validation", "dev": "validation", "testing": "test"}


def split_name(value: object) -> str:
    """Return the name of a split: train, validation, test, or another word in small letters.

    >>> split_name("Val"), split_name("dev "), split_name("train"), split_name("restval")
    ('validation', 'validation', 'train', 'restval')
    """
    name = str(value).strip().casefold()
    return OTHER_NAMES.get(name, name)


def split_column(names: Iterable[str]) -> str | None:
    """Return the column that names splits, in whatever case it is written; None without one."""
    return next((name for name in names if str(name).strip().casefold() == SPLIT), None)


@dataclass
class SplitFilter:
    """Tells the rows of one split, in a file that names splits; of a file that names none all rows pass.

    Attributes:
        wanted: the split; None: all rows.
        is_named: rows name their split; None: the first one decides.
        found: rows by split, once they were asked for; empty for a file that names none.
    """

    wanted: str | None
    is_named: bool | None = None
    found: Counter[str] = field(default_factory=Counter)

    def takes(self, fields: Mapping[str, object]) -> bool:
        """Return True if a row belongs to the split, and count it.

        Raises:
            BadRowError: the row names no split although the first row does, or the other way round.
        """
        column = split_column(fields)
        if self.is_named is None:
            self.is_named = column is not None
        name = split_name(fields[column]) if column is not None and fields[column] is not None else ""
        if self.wanted is not None and bool(name) != self.is_named:
            raise BadRowError("bad split", "the row has none, others do" if self.is_named else "other rows have none")
        if name:
            self.found[name] += 1
        return self.wanted is None or not self.is_named or name == split_name(self.wanted)

    def select(
        self, rows: Iterable[tuple[int | str, dict | BadRowError]]
    ) -> Iterator[tuple[int | str, dict | BadRowError]]:
        """Yield the rows of the split, and the errors."""
        for place, fields in rows:
            try:
                if isinstance(fields, BadRowError) or self.takes(fields):
                    yield place, fields
            except BadRowError as error:
                yield place, error

    @property
    def others(self) -> Counter[str]:
        """Rows of the other splits."""
        if self.wanted is None:
            return Counter()
        return Counter({name: count for name, count in self.found.items() if name != split_name(self.wanted)})

    def check(self, source: object) -> None:
        """Raise ValueError if the file has rows of other splits alone."""
        if self.others and not self.found[split_name(self.wanted)]:
            has = ", ".join(f"{name[:40]} ({count})" for name, count in self.found.most_common(5))
            raise ValueError(f"{source} has no rows of the split {self.wanted!r}, only of {has}. Give --split.")


def hold_out(rows: "Dataset") -> "tuple[Dataset, Dataset]":
    """Return the rows to train on and those to evaluate on, which follow from the bytes of the images alone.

    Held out is a tenth of the images, but 50 if that is a fifth of them or less, or else a fifth, and at most 1,000: 4
    of 20, 20 of 100, 50 of 400, 500 of 5,000. All rows of an image go the same way.

    Raises:
        OSError: an image cannot be read.
    """
    import datasets

    images = rows.cast_column("image", datasets.Image(decode=False))["image"]
    keys = [image_fingerprint(image) for image in images]
    distinct = sorted(set(keys))
    number = min(1000, max(len(distinct) // 10, min(50, len(distinct) // 5)))
    held = set(distinct[:number])
    sides: tuple[list[int], list[int]] = ([], [])
    for place, key in enumerate(keys):
        sides[key in held].append(place)
    return rows.select(sides[0]), rows.select(sides[1])


def image_fingerprint(image: "StoredImage") -> int:
    """Return a number that images of the same bytes have, from an undecoded `datasets.Image`."""
    stored = stored_image(image)
    return fingerprint(stored if isinstance(stored, bytes) else Path(str(stored)).read_bytes())


__all__ = ["HELD_OUT", "SPLIT", "SplitFilter", "hold_out", "image_fingerprint", "split_column", "split_name"]
