"""A folder of shards that is filled piece by piece: a killed run resumes.

Shard i holds piece i of the inputs, in their order, and is there whole or not at all. The manifest says what the folder
is made of; a run that wants something else is refused. The kinds of shards differ in their format alone.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from ..rows.report import BadRowError
from .bounded import check_regular
from .manifest import agree_with_manifest

logger = logging.getLogger(__name__)

Identity = TypeVar("Identity")  # says which piece of the inputs a shard holds


class ShardStore(ABC, Generic[Identity]):
    """The shards of a folder, and which of them are still to be written.

    Args:
        folder: where they and `manifest.json` go; is made if need be.
        identities: of the pieces; a shard of another piece counts as not written.
        settings: what all shards are made by, as JSON has it; another run must have the same.

    Raises:
        ValueError: the folder was begun with other settings, or holds shards without a manifest.
    """

    name: ClassVar[str]  # of a file, up to its number
    suffix: ClassVar[str]

    def __init__(self, folder: Path, identities: Sequence[Identity], settings: Mapping[str, object]) -> None:
        self.folder, self.identities = folder, identities
        agree_with_manifest(folder, settings, shards=f"{self.name}-*{self.suffix}")

    @abstractmethod
    def read_identity(self, path: Path) -> Identity:
        """Return which piece a file holds; raise BadRowError if it is damaged."""

    def path(self, shard: int) -> Path:
        """Return where a shard is or will be."""
        return self.folder / f"{self.name}-{shard:05d}-of-{len(self.identities):05d}{self.suffix}"

    def paths(self) -> list[Path]:
        """Return where all shards are or will be."""
        return [self.path(shard) for shard in range(len(self.identities))]

    def pending(self) -> list[int]:
        """Return the shards that are still to be written; damaged ones count as such and are logged."""
        return [shard for shard in range(len(self.identities)) if not self._is_finished(shard)]

    def _is_finished(self, shard: int) -> bool:
        path = self.path(shard)
        if not path.exists():
            return False
        try:
            found = self.read_identity(path)
        except BadRowError as error:
            logger.warning("%s; it is made again.", error)
            return False
        if found != self.identities[shard]:
            logger.warning("%s holds %s and not %s; it is made again.", path, found, self.identities[shard])
        return found == self.identities[shard]


def split_into_shards(count: int, size: int) -> list[range]:
    """Return the positions of the inputs of each shard.

    >>> split_into_shards(5, 2)
    [range(0, 2), range(2, 4), range(4, 5)]

    Raises:
        ValueError: a shard is to hold less than 1 input.
    """
    if size < 1:
        raise ValueError(f"A shard of {size} inputs; it must hold 1 or more.")
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


@contextmanager
def reading_shard(path: Path, advice: str = "") -> Iterator[None]:
    """Raise BadRowError with the cause "broken shard" for whatever a damaged file makes the block raise."""
    import pyarrow as pa

    try:
        check_regular(path)
        yield
    except (pa.ArrowException, OSError, EOFError, TypeError, LookupError, ValueError, RecursionError) as error:
        raise BadRowError("broken shard", f"{path}: {type(error).__name__}: {str(error)[:200]}{advice}") from error


__all__ = ["ShardStore", "reading_shard", "split_into_shards"]
