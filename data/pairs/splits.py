"""The splits of a file of pairs: its column `split`, if it has one."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ..rows.report import BadRowError

SPLIT = "split"  # the column
OTHER_NAMES = {"training": "train", "val": "validation", "valid": "validation", "dev": "validation", "testing": "test"}


def split_name(value: object) -> str:
    """Return the name of a split: train, validation, test, or another word in small letters.

    >>> split_name("Val"), split_name("dev "), split_name("train"), split_name("restval")
    ('validation', 'validation', 'train', 'restval')
    """
    name = str(value).strip().casefold()
    return OTHER_NAMES.get(name, name)


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
        if self.is_named is None:
            self.is_named = SPLIT in fields
        name = split_name(fields[SPLIT]) if fields.get(SPLIT) is not None else ""
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


__all__ = ["SPLIT", "SplitFilter", "split_name"]
