"""The ledger of bad rows: what was wrong with the rows of a source, counted by cause, with one example each.

It counts in one process, or in all workers of a DataLoader together.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from .printable import printable

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

Row = TypeVar("Row")
Found = TypeVar("Found")

# cause -> what the user can do. A cause that the caller's `check_image` names says so in its own message.
REMEDIES = {
    "broken line": "write one valid JSON object, or one well-quoted table row, a line",
    "broken JSON": "write one valid JSON object for the sample",
    "empty shard": "write its samples, or take it away",
    "broken shard": "write the shard again; what came before the damage was used, what came after is lost",
    "missing field": "give every row an image and a text",
    "text is no string": "write the text as a string or as a list of strings",
    "invalid UTF-8": "save the file as UTF-8, or give its --encoding, such as gb18030",
    "empty text": "write a caption or leave the row out",
    "useless text": "write a caption; a URL, a file name or the word 'image' says nothing about the image",
    "text too long": "write a caption of a sentence or a few; no document",
    "file missing": "check the path and `image_root`",
    "image is a URL": "download the image first; nothing is fetched here",
    "path leaves image root": "give the folder that holds all images as `image_root`",
    "empty file": "fetch the image again or leave the row out",
    "bad image": "open the image, repair or replace it",
    "box dropped": "write [x1, y1, x2, y2] in pixels with x1 < x2 and y1 < y2",
    "text cut": "shorten the text or raise `max_text_length`",
    "caption dropped": "the row's other captions were kept",
    "duplicate image": "give every image one entry and an id of its own",
    "size differs": "write width and height of the upright image, and boxes in its pixels",
    "empty box": "write bbox as [x, y, width, height] in pixels, finite and inside the image",
    "box outside": "the box, or most of it, lies outside of the image; write it in pixels of the upright image",
    "no box can be used": "write [x1, y1, x2, y2] in pixels of the image, or leave `boxes` out of the row",
    "box within a pixel": "write boxes in pixels, not in fractions of the image",
    "box reversed": "width and height were negative: the other corner was given; the box between the two was taken",
    "box by corners": "the boxes of this file are [x1, y1, x2, y2] and were read so",
    "box in fractions": "the boxes of this file are fractions of the image and were brought to pixels",
    "box clipped": "the part outside of the image was cut off",
    "duplicate box": "the same class has the same box twice; one was kept",
    "unknown category": "list the category, with its id, in `categories`",
    "unknown attribute": "list the attribute, with its id, in `attributes`",
    "another script": "give the language that the captions are in",
    "image has no name": "name a column with a path or an id of the image as the image column",
    "crowd skipped": "boxes around groups (iscrowd) teach nothing about one object",
    "no regions": "extract the regions of all images, under the names that the captions have",
    "unknown image": "list the image in `images`; what was said of it was left out",
    "unknown language": "captions are in zh, en, de, fr, cs, ja or ko, under these keys",
    "bad split": "name the split train, val, test or by another word of letters, digits, - and _",
    "in no split": "list the image in the file of splits",
    "broken question": "write image_id and question_id as numbers, question as a string",
    "broken annotation": "write question_id and image_id as numbers, answers as a list of {answer}",
    "question without words": "it stays, asked as '?': a test server wants an answer to every question",
    "duplicate question": "give every question an id of its own; the first was kept",
    "duplicate annotation": "annotate every question once; the first was kept",
    "question without annotation": "give the annotations of these questions, or none for a test",
    "annotation without question": "give the questions of these annotations",
    "another image": "question and annotation must name the same image",
    "empty answers": "give ten answers, or one",
    "step not finite": "look for NaN in the input, lower the learning rate or lengthen the warm-up",
    "small batch": "see what was left out of the batches, and mend that",
    "unusual number of answers": "ten are official, one counts as ten; scores of others are lower",
}


class BadRowError(ValueError):
    """A row that cannot be used; `cause` is a short phrase to count by, the message says what was found."""

    def __init__(self, cause: str, found: str) -> None:
        super().__init__(f"{cause}: {found}")
        self.cause = cause
        self.found = found

    def __reduce__(self) -> tuple:
        return type(self), (self.cause, self.found)  # other processes report rows too

    @classmethod
    def of_image(cls, error: ValueError) -> "BadRowError":
        """Return the error of an image that a decoder refused; its `cause` attribute, if it has one, is kept."""
        return cls(getattr(error, "cause", None) or "bad image", str(error))

    def describe(self, source: str | Path, row: int | str) -> str:
        """Return one line a user can act on: source, row, what was found, what to do."""
        remedy = f" ({REMEDIES[self.cause]})" if self.cause in REMEDIES else ""
        place = f", row {_shorten(str(row), MAX_PLACE)}" if row != "" else ""
        head = f"{_shorten(str(source), MAX_SOURCE)}{place}: {_shorten(self.cause, MAX_PLACE)}: "
        room = min(MAX_FOUND, MAX_DESCRIBED - len(head) - len(remedy))
        return f"{head}{_shorten(self.found, room)}{remedy}"


class EmptyBatchError(ValueError):
    """No row of a batch can be used; they are counted."""


class TooManyBadRowsError(ValueError):
    """More rows are bad than the caller allows; the message holds the counts."""


def _shorten(text: str, length: int) -> str:
    """Return a text as a terminal can show it, without its middle where it is longer."""
    text = printable(text if len(text) <= 2 * length else f"{text[:length]}{text[-length:]}")
    half = (length - 5) // 2
    return text if len(text) <= length else f"{text[:half]} ... {text[-half:]}"


def describe_not_looked_at(number_of: Mapping[str, int]) -> list[str]:
    """Return the line on what a folder holds beside the rows, none where there is nothing, for a report."""
    kinds = [f"{number} {kind}" for kind, number in Counter(number_of).most_common(5)]
    return [f"  not looked at: {sum(number_of.values())} files or folders ({', '.join(kinds)})"] if kinds else []


def check_fraction(max_bad_fraction: float) -> None:
    """Raise ValueError for a number that is no fraction, such as NaN."""
    if not 0 <= max_bad_fraction <= 1:
        raise ValueError(f"max_bad_fraction is {max_bad_fraction}; it is a fraction of 0 to 1.")


KEPT, LEFT_OUT, REPAIRED = "kept", "left out", "repaired"
MAX_DESCRIBED = 340  # characters of a bad row's line; of what was found, of the source and of a row's key or a cause
MAX_FOUND, MAX_SOURCE, MAX_PLACE = 200, 100, 60
MAX_WORKERS = 128  # of a DataLoader that count apart
MAX_CAUSES = 32  # of a worker that count apart
EXAMPLE_BYTES = 400
# What a worker counts of one cause.
CELL = np.dtype([("title", "S8"), ("cause", "S64"), ("example", f"S{EXAMPLE_BYTES}"), ("count", np.int64)])


class BadRowReport:
    """Counts the rows of one source: those kept, and those left out or repaired by cause.

    With `shared`, the workers of a DataLoader that hold copies of it count together, exactly and without a lock, since
    each writes only its own line of a table in shared memory; the first case of each cause is logged at once.

    Args:
        on_bad_row: leave a bad row out and count it, or raise at the first one.
        shared: count what workers count, too.

    Raises:
        ValueError: `on_bad_row` is neither of its values.
    """

    def __init__(
        self,
        source: str | Path,
        rows_kept: int = 0,
        *,
        on_bad_row: Literal["skip", "raise"] = "skip",
        shared: bool = False,
    ) -> None:
        if on_bad_row not in ("skip", "raise"):
            raise ValueError(f"on_bad_row is {on_bad_row!r}; it must be 'skip' or 'raise'.")
        self.source, self.on_bad_row = source, on_bad_row
        self.has_splits = False  # the rows name their split
        self.other_splits: Counter[str] = Counter()  # rows that were not asked for
        self.not_looked_at: Counter[str] = Counter()  # files of a folder that are no rows, by kind
        self._cells: dict[tuple[str, str], tuple[int, str]] = {}  # (title, cause) -> number, first example
        self._shared = None
        if shared:
            import torch

            self._shared = torch.zeros(MAX_WORKERS * MAX_CAUSES * CELL.itemsize, dtype=torch.uint8).share_memory_()
        self.keep_rows(rows_kept)

    def keep_rows(self, number: int = 1) -> None:
        """Count good rows; a negative number takes back rows that are left out after all."""
        self._count(KEPT, "", "", number)

    def add_bad_row(self, error: BadRowError, row: int | str = "", *, number: int = 1) -> None:
        """Count a row that is left out, or several; `row` is its number, or its file and its number or key.

        Raises:
            ValueError: `on_bad_row` is "raise".
        """
        example = error.describe(self.source, row)
        if self.on_bad_row == "raise":
            raise ValueError(example) from error
        if self._shared is not None and error.cause not in self.counts:
            logger.warning("Row left out, further ones of this cause are only counted: %s", example)
        self._count(LEFT_OUT, error.cause, example, number)

    def add_repair(self, cause: str, row: int | str, found: str, *, number: int = 1) -> None:
        """Count a change to a row that is kept (a box dropped, a text cut), or several."""
        self._count(REPAIRED, cause, BadRowError(cause, found).describe(self.source, row), number)

    def check_rows(
        self, rows: Iterable[tuple[int | str, Row | BadRowError]], check: Callable[[int | str, Row], Found]
    ) -> Iterator[Found]:
        """Yield what `check` makes of the rows, and count them all.

        Args:
            rows: their place in the source, and the row, or why there is none.
            check: takes place and row; raises BadRowError for a row that cannot be used.

        Raises:
            ValueError: a row is bad and `on_bad_row` is "raise".
        """
        for place, row in rows:
            try:
                if isinstance(row, BadRowError):
                    raise row
                found = check(place, row)
            except BadRowError as error:
                self.add_bad_row(error, place)
                continue
            self.keep_rows()
            yield found

    def log(self) -> None:
        """Log the counts if anything was left out, repaired or not looked at."""
        if self.counts or self.repairs or self.not_looked_at:
            logger.warning("%s", self)

    def raise_above(self, max_bad_fraction: float) -> None:
        """Raise TooManyBadRowsError, with the counts, if a greater fraction of the rows is bad, or all are.

        One bad row among several good ones says little of a small source: it passes unless none is allowed.
        """
        check_fraction(max_bad_fraction)
        is_alone = self.counts.total() == 1 < self.rows_kept and max_bad_fraction > 0
        if not self.rows_kept or (self.bad_fraction > max_bad_fraction and not is_alone):
            raise TooManyBadRowsError(f"More than {max_bad_fraction:.0%} of the rows (or all) are bad.\n{self}")

    @property
    def rows_kept(self) -> int:
        """Number of good rows."""
        return sum(number for number, _ in self._sum(KEPT).values())

    @property
    def rows_read(self) -> int:
        """Number of rows met."""
        return self.rows_kept + self.counts.total()

    @property
    def bad_fraction(self) -> float:
        """Fraction of the rows read that were left out, 0.0 without rows."""
        return self.counts.total() / max(1, self.rows_read)

    @property
    def counts(self) -> Counter[str]:
        """Number of rows left out, by cause."""
        return Counter({cause: number for cause, (number, _) in self._sum(LEFT_OUT).items()})

    @property
    def repairs(self) -> Counter[str]:
        """Number of changes to rows that were kept, by cause."""
        return Counter({cause: number for cause, (number, _) in self._sum(REPAIRED).items()})

    @property
    def examples(self) -> dict[str, str]:
        """The first case of each cause: source, row and what was found."""
        return {cause: first for cause, (_, first) in (self._sum(REPAIRED) | self._sum(LEFT_OUT)).items()}

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        names = ("rows_read", "rows_kept", "counts", "repairs", "examples")
        others = {name: dict(count) for name in ("other_splits", "not_looked_at") if (count := getattr(self, name))}
        return {"source": str(self.source)} | {name: getattr(self, name) for name in names} | others

    def __str__(self) -> str:
        source = _shorten(str(self.source), MAX_SOURCE)
        lines = [f"{source}: kept {self.rows_kept} of {self.rows_read} rows ({self.bad_fraction:.1%} bad)"]
        for title in (LEFT_OUT, REPAIRED):
            for cause, (number, first) in sorted(self._sum(title).items(), key=lambda item: -item[1][0]):
                lines.append(f"  {title} {number} x {cause}. First: {first.removeprefix(f'{source}, ')}")
        if self.other_splits:
            others = ", ".join(f"{name[:40]} {count}" for name, count in self.other_splits.most_common(5))
            lines.append(f"  rows of other splits, which are not read: {others}")
        return "\n".join(lines + describe_not_looked_at(self.not_looked_at))

    def _count(self, title: str, cause: str, example: str, number: int) -> None:
        if (line := self._line_of_worker()) is None:
            counted, first = self._cells.get((title, cause), (0, example))
            self._cells[title, cause] = counted + number, first
            return
        names = title.encode(), cause.encode(errors="replace")[:64]
        for cell in line:
            if not cell["title"]:
                cell["cause"], cell["example"] = names[1], example.encode(errors="replace")[:EXAMPLE_BYTES]
                cell["title"] = names[0]
            if (cell["title"], cell["cause"]) == names:
                break
        cell["count"] += number  # the last cell where all are taken

    def _line_of_worker(self) -> np.ndarray | None:
        """Return the cells that this process alone writes, None outside of workers."""
        if self._shared is None:
            return None
        from torch.utils.data import get_worker_info

        worker = get_worker_info()
        return None if worker is None else self._table(self._shared)[worker.id % MAX_WORKERS]

    def _sum(self, title: str) -> dict[str, tuple[int, str]]:
        """Return cause -> number and first example, over all processes."""
        found = {cause: counted for (kind, cause), counted in self._cells.items() if kind == title}
        if self._shared is not None:
            table = self._table(self._shared)
            for cell in table[(table["count"] > 0) & (table["title"] == title.encode())]:
                cause, example = (cell[name].decode(errors="replace") for name in ("cause", "example"))
                number, first = found.get(cause, (0, example))
                found[cause] = number + int(cell["count"]), first
        return found

    @staticmethod
    def _table(shared: "Tensor") -> np.ndarray:
        return shared.numpy().view(CELL).reshape(MAX_WORKERS, MAX_CAUSES)


__all__ = [
    "REMEDIES",
    "BadRowError",
    "BadRowReport",
    "EmptyBatchError",
    "TooManyBadRowsError",
    "check_fraction",
    "describe_not_looked_at",
]
