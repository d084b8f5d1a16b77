"""The tokens of images or texts beside a shard of an index, for late interaction: written once, mapped into memory.

A shard `NAME.parquet` has int64 columns `key`, `token_start` and `token_count`; `NAME.tokens.npy` beside it holds the
tokens (all of the shard, c) in float16, those of one row after those of the one before. A row costs
`token_count * c * 2` bytes: 19 kB for the 37 regions of a grid and c = 256, where an embedding of 2,048 costs 4 kB.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data.files.atomic import atomic_file
from ..data.files.shard_store import reading_shard
from ..modeling_brivl.late_interaction import late_interaction_scores

COLUMNS = ("key", "token_start", "token_count")


def tokens_path(shard: Path) -> Path:
    """Return the file of tokens that belongs to a shard."""
    return shard.with_suffix(".tokens.npy")


def write_tokens(shard: Path, tokens: Sequence[np.ndarray], *, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Write the tokens of a shard's rows beside it, as a file that appears when it is complete.

    Args:
        shard: the Parquet file; it may come later.
        tokens: of each row (n_i, dim), at least one.
        dim: `late_dim` of the model.

    Returns:
        `token_start` and `token_count`, (rows,) int64 each.

    Raises:
        ValueError: tokens of another size, none of a row, or such that are not finite in float16.
    """
    for row, one in enumerate(tokens):
        if one.ndim != 2 or one.shape[1] != dim or not len(one):
            raise ValueError(f"The tokens of row {row} of {shard} are {one.shape}; they must be (1 or more, {dim}).")
        if not (np.abs(one) <= np.finfo(np.float16).max).all():
            raise ValueError(f"The tokens of row {row} of {shard} are not finite: the weights of the model are broken.")
    counts = np.array([len(one) for one in tokens], dtype=np.int64)
    whole = np.concatenate([np.empty((0, dim), np.float16), *tokens], dtype=np.float16, casting="same_kind")
    with atomic_file(tokens_path(shard)) as unfinished:
        np.save(unfinished, whole, allow_pickle=False)
    return counts.cumsum() - counts, counts


@dataclass
class LateTokens:
    """The tokens of all shards of an index; only those of candidates are ever read.

    Attributes:
        keys: (rows,) int64, ascending.
        shards, starts, counts: (rows,) int64: of each key the shard, its first token there, and its number of tokens.
        arrays: of each shard (tokens, c) float16, mapped.
    """

    keys: np.ndarray
    shards: np.ndarray
    starts: np.ndarray
    counts: np.ndarray
    arrays: list[np.ndarray]

    @classmethod
    def open(cls, shards: Iterable[Path]) -> "LateTokens":
        """Return the tokens of some shards, Parquet files of which each has its tokens beside it.

        Raises:
            FileNotFoundError: there are no tokens beside a shard.
            ValueError: a shard or its tokens are damaged or of another size than others, or two shards have one key.
        """
        import pyarrow.parquet as pq

        columns, arrays = [], []
        for number, shard in enumerate(shards):
            with reading_shard(shard):
                table = pq.read_table(shard, columns=list(COLUMNS))
                key, start, count = (table[name].to_numpy() for name in COLUMNS)
            arrays.append(_open_tokens(shard, int((start + count).max(initial=0))))
            if min(start.min(initial=0), count.min(initial=1) - 1) < 0:
                raise ValueError(f"{shard} is damaged: token_start or token_count is out of range. Build it again.")
            columns.append((key, np.full(len(key), number), start, count))
        if len({array.shape[1] for array in arrays}) > 1:
            raise ValueError(f"{shard} has tokens of another size than the shards before. Build the index again.")
        nothing = [np.empty((4, 0), np.int64)]
        keys, places, starts, counts = np.concatenate([*nothing, *map(np.stack, columns)], axis=1)
        order = keys.argsort(kind="stable")
        if (np.diff(keys[order]) == 0).any():
            raise ValueError("Two rows of the shards have one key. Build the index again.")
        return cls(keys[order], places[order], starts[order], counts[order], arrays)

    @property
    def bytes_per_row(self) -> float:
        """Mean size of the tokens of a row, in bytes."""
        return sum(array.nbytes for array in self.arrays) / max(1, len(self.keys))

    def __getitem__(self, key: int) -> np.ndarray:
        """Return the tokens (n, c) float16 of a row.

        Raises:
            KeyError: it is in no shard.
        """
        [tokens], [mask] = self.read([key])
        return tokens[mask].numpy()

    def read(self, keys: Sequence[int] | np.ndarray) -> tuple[Tensor, Tensor]:
        """Return the tokens (k, n, c) float16 of some rows, padded with 0, and their mask (k, n).

        Raises:
            KeyError: a row is in no shard.
        """
        wanted = np.asarray(keys, dtype=np.int64)
        places = np.searchsorted(self.keys, wanted).clip(max=max(0, len(self.keys) - 1))
        if len(wanted) and (not len(self.keys) or (self.keys[places] != wanted).any()):
            lost = wanted[0] if not len(self.keys) else wanted[self.keys[places] != wanted][0]
            raise KeyError(f"The index has no tokens of key {lost}.")
        counts = self.counts[places]
        mask = torch.arange(int(counts.max(initial=1))) < torch.from_numpy(counts)[:, None]
        tokens = torch.zeros(*mask.shape, self.arrays[0].shape[1] if self.arrays else 1, dtype=torch.float16)
        for row, place in enumerate(places):
            start, count = self.starts[place], self.counts[place]
            tokens[row, :count] = torch.from_numpy(self.arrays[self.shards[place]][start : start + count].copy())
        return tokens, mask

    def scores(self, tokens: np.ndarray | Tensor, keys: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the score (k,) float32 of a query with each of some rows, see `late_interaction_scores`.

        Args:
            tokens: (l, c) of the query, a text or an image.
            keys: k rows, in any order.

        Raises:
            KeyError: a row is in no shard.
            ValueError: tokens of another size than those stored.
        """
        query = torch.as_tensor(tokens)[None]
        found, mask = self.read(keys)
        if query.ndim != 3 or not query.shape[1] or (len(found) and query.shape[2] != found.shape[2]):
            raise ValueError(
                f"The query has tokens {tuple(query.shape[1:])}, the index (any, {found.shape[2]}): give those of the "
                "model that it was built with."
            )
        if not len(found):
            return np.empty(0, np.float32)
        with torch.inference_mode():
            return late_interaction_scores(found, mask, query, torch.ones(query.shape[:2]))[:, 0].numpy()


def _open_tokens(shard: Path, needed: int) -> np.ndarray:
    """Return the mapped tokens of a shard."""
    path = tokens_path(shard)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {shard.name} has no tokens. Build the index again with tokens.")
    try:
        array = np.load(path, mmap_mode="r" if needed else None, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} is damaged ({str(error)[:100]}). Build the index again.") from error
    if array.ndim != 2 or array.dtype != np.float16 or len(array) < needed:
        raise ValueError(
            f"{path} is damaged: it holds {array.dtype} {array.shape}, {shard.name} needs {needed} tokens in float16. "
            "Build the index again."
        )
    return array


__all__ = ["LateTokens", "tokens_path", "write_tokens"]
