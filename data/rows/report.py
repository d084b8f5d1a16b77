"""What was wrong with the rows of a file: counted by cause, with one example each, and an error above a stated rate.

The counts may be shared by all worker processes of a DataLoader.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch.utils.data import get_worker_info

# cause -> what the user can do. A cause that the caller's `check_image` names says so in its own message.
REMEDIES = {
    "broken line": "write one valid JSON object, or one well-quoted table row, a line",
    "broken JSON": "write one valid JSON object for the sample",
    "broken shard": "write the shard again; what came before the damage was used, what came after is lost",
    "missing field": "give every row an image and a text",
    "text is no string": "write the text as a string or as a list of strings",
    "invalid UTF-8": "save the file as UTF-8",
    "empty text": "write a caption or leave the row out",
    "useless text": "write a caption; a URL, a file name or the word 'image' says nothing about the image",
    "text list after strings": "write every text as a list, or every one as a string",
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
    "unusual number of answers": "ten are official, one counts as ten; scores of others are lower",
}


class BadRowError(ValueError):
    """A row that cannot be used; `cause` is a short phrase to count by, the message says what was found."""

    def __init__(self, cause: str, found: str) -> None:
        super().__init__(f"{cause}: {found}")
        self.cause = cause
        self.found = found


class TooManyBadRowsError(ValueError):
    """More rows are bad than the caller allows; the message holds the counts."""


def describe_row(source: str | Path, row: int | str, cause: str, found: str) -> str:
    """Return one line a user can act on: source, row, what was found, what to do."""
    remedy = f" ({REMEDIES[cause]})" if cause in REMEDIES else ""
    return f"{source}, row {row}: {cause}: {found}{remedy}"


@dataclass
class BadRowReport:
    """What a reader met in one file or folder.

    Attributes:
        source: the file or folder that was read.
        rows_read: rows met, blank lines not counted.
        rows_kept: rows in the resulting dataset.
        counts: number of rows left out, by cause.
        repairs: number of things changed in rows that were kept (a box dropped, a text cut), by cause.
        examples: the first case of each cause: file, row number and what was found.
    """

    source: str | Path
    rows_read: int = 0
    rows_kept: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def bad_fraction(self) -> float:
        """Fraction of the rows read that were left out, 0.0 for an empty file."""
        return self.counts.total() / self.rows_read if self.rows_read else 0.0

    def add_bad_row(self, error: BadRowError, row: int | str) -> None:
        """Count a row that is left out; `row` is its number, or its file and its number or key."""
        self.counts[error.cause] += 1
        self.examples.setdefault(error.cause, describe_row(self.source, row, error.cause, error.found))

    def add_repair(self, cause: str, row: int | str, found: str) -> None:
        """Count a change to a row that is kept."""
        self.repairs[cause] += 1
        self.examples.setdefault(cause, describe_row(self.source, row, cause, found))

    def __str__(self) -> str:
        lines = [f"{self.source}: kept {self.rows_kept} of {self.rows_read} rows ({self.bad_fraction:.1%} bad)"]
        for title, counts in (("left out", self.counts), ("repaired", self.repairs)):
            lines += [f"  {title} {n} x {cause}. First: {self.examples[cause]}" for cause, n in counts.most_common()]
        return "\n".join(lines)


# What `check_image` may name on top; any other cause is counted as "bad image", and its example has the message.
CAUSES = (*REMEDIES, "not an image", "truncated", "too large", "unreadable")
MAX_PROCESSES = 257
EXAMPLE_BYTES = 400


class SharedBadRows:
    """A `BadRowReport` that the processes of one DataLoader fill together, exactly and without a lock.

    Each process writes only its own line of the tensors in shared memory; `report` sums the lines.

    Args:
        source: named in the report.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._rows = torch.zeros(MAX_PROCESSES, 2, dtype=torch.int64).share_memory_()  # read, kept
        self._counts = torch.zeros(MAX_PROCESSES, len(CAUSES), dtype=torch.int64).share_memory_()
        self._repairs = torch.zeros_like(self._counts).share_memory_()
        self._examples = torch.zeros(MAX_PROCESSES, len(CAUSES), EXAMPLE_BYTES, dtype=torch.uint8).share_memory_()

    def add_row(self, *, kept: bool) -> None:
        """Count a row that was read."""
        self._rows[_process(), 0] += 1
        self._rows[_process(), 1] += kept

    def add_bad_row(self, error: BadRowError, row: int | str) -> None:
        """Count the cause for which a row is left out; `add_row` counts the row."""
        self._add(self._counts, error.cause, row, error.found)

    def add_repair(self, cause: str, row: int | str, found: str) -> None:
        """Count a change to a row that is kept."""
        self._add(self._repairs, cause, row, found)

    def _add(self, counts: torch.Tensor, cause: str, row: int | str, found: str) -> None:
        slot = CAUSES.index(cause if cause in CAUSES else "bad image")
        example = self._examples[_process(), slot]
        if not example[0]:
            text = describe_row(self.source, row, cause, found).encode(errors="replace")[:EXAMPLE_BYTES]
            example[: len(text)] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        counts[_process(), slot] += 1

    def report(self) -> BadRowReport:
        """What all processes have counted until now."""
        rows_read, rows_kept = self._rows.sum(0).tolist()
        counts, repairs = (_by_cause(tensor.sum(0)) for tensor in (self._counts, self._repairs))
        examples = {}
        for cause in counts | repairs:
            lines = self._examples[:, CAUSES.index(cause)]
            first = lines[lines[:, 0].nonzero()[0, 0]]
            examples[cause] = bytes(first.tolist()).rstrip(b"\0").decode(errors="replace")
        return BadRowReport(self.source, rows_read, rows_kept, counts, repairs, examples)


def _process() -> int:
    worker = get_worker_info()
    return 0 if worker is None else (worker.id + 1) % MAX_PROCESSES


def _by_cause(counts: torch.Tensor) -> Counter[str]:
    return Counter({cause: count for cause, count in zip(CAUSES, counts.tolist(), strict=True) if count})


__all__ = ["CAUSES", "REMEDIES", "BadRowError", "BadRowReport", "SharedBadRows", "TooManyBadRowsError", "describe_row"]
