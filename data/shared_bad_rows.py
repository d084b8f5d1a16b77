"""Bad rows counted over all worker processes of a DataLoader."""

from collections import Counter

import torch
from torch.utils.data import get_worker_info

from .bad_rows import REMEDIES, BadRowError, BadRowReport, describe_row

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
        """Counts a row that was read."""
        self._rows[_process(), 0] += 1
        self._rows[_process(), 1] += kept

    def add_bad_row(self, error: BadRowError, row: int | str) -> None:
        """Counts the cause for which a row is left out; `add_row` counts the row."""
        self._add(self._counts, error.cause, row, error.found)

    def add_repair(self, cause: str, row: int | str, found: str) -> None:
        """Counts a change to a row that is kept."""
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


__all__ = ["CAUSES", "SharedBadRows"]
