"""The protocol of vector indexes, and the checks and the order of answers that its backends share.

An index is derived from the shards of its folder and can be made again from them. Scores are inner products: embeddings
and queries are unit rows, normalised once, by whoever made them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..filters import Filter

Search = Callable[[int], tuple[np.ndarray, np.ndarray]]
RESERVED = ("key", "id", "embedding")


class VectorIndex(Protocol):
    """Rows with a key, an embedding and metadata; the nearest ones to a query, of all or of those that meet a filter.

    Attributes:
        dim: numbers in an embedding.
        state: whole numbers of the caller that are saved with the rows, such as how far it has read its shards.
    """

    dim: int
    state: dict[str, int]

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def add(self, rows: pa.Table) -> None:
        """Add rows; those whose key is there already take the place of the old ones.

        Args:
            rows: `key` (int64, 0 or more, each once), `id` (string), `embedding` (fixed-size list of `dim` 16-bit or
                32-bit floats), and metadata: the same columns of texts, numbers or booleans in every call.

        Raises:
            ValueError: a column is missing, unknown or of another type, an embedding is not finite; nothing is added.
        """
        ...

    def remove(self, keys: np.ndarray) -> None:
        """Remove the rows with these keys; keys that are not there are ignored."""
        ...

    def search(self, queries: np.ndarray, k: int, *, where: Filter | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the k best rows for every query, best first, equal scores in the order of keys.

        Args:
            queries: (q, dim) float32.
            where: only rows that meet it.

        Returns:
            scores (q, k) float32 and keys (q, k) int64; -inf and -1 where there are fewer than k rows.

        Raises:
            ValueError: k is below 1, the shape is another, a number is not finite, or the filter does not fit.
        """
        ...

    def fetch(self, keys: np.ndarray) -> pa.Table:
        """Return all columns but the embedding of the rows with these keys, in this order.

        Raises:
            ValueError: there is no such key.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write the index and its state into a folder; a kill in the middle leaves what was there before."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return what was saved in a folder.

        Raises:
            FileNotFoundError: nothing was.
            ValueError: a file, which it names, is damaged; the index has to be made again.
        """
        ...


def embeddings_of(rows: pa.Table, dim: int) -> np.ndarray:
    """Return the embeddings of rows, (n, dim) float32.

    Raises:
        ValueError: they are of another type or length, null, or not finite.
    """
    column = rows["embedding"]
    kind = column.type
    if not pa.types.is_fixed_size_list(kind) or kind.value_type not in (pa.float16(), pa.float32()):
        raise ValueError(f"The column 'embedding' holds {kind}; it must be a fixed-size list of 16 or 32-bit floats.")
    if kind.list_size != dim:
        raise ValueError(f"The embeddings have {kind.list_size} numbers, those of the index {dim}; embed by its model.")
    flat = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    matrix = np.concatenate([np.empty(0, np.float32), *flat]).astype(np.float32).reshape(-1, dim)
    if column.null_count or not np.isfinite(matrix).all():
        raise ValueError("An embedding is null or not finite; leave such rows out.")
    return matrix


def metadata_of(rows: pa.Table, known: pa.Schema | None) -> pa.Table:
    """Return all columns but the embedding, in the types of an index: string, int64, float64, bool.

    Args:
        rows: as of `VectorIndex.add`.
        known: the columns that the index has, None if it has no rows yet.

    Raises:
        ValueError: a column is missing, unknown or of another type, or a key is null, negative or not unique.
    """
    if missing := [name for name in RESERVED if name not in rows.column_names]:
        raise ValueError(f"Rows of an index have the columns {', '.join(RESERVED)}; there is no {missing[0]!r}.")
    names = ["key", "id", *(name for name in rows.column_names if name not in RESERVED)]
    table = rows.select(names)
    schema = pa.schema([(field.name, _stored_type(field)) for field in table.schema])
    if schema.field("key").type != pa.int64() or schema.field("id").type != pa.string():
        raise ValueError("The column 'key' must hold whole numbers and 'id' texts.")
    if known is not None:
        if set(names) != set(known.names):
            raise ValueError(
                f"The rows have the columns {', '.join(names)}, the index {', '.join(known.names)}; build it again."
            )
        table, schema = table.select(known.names), pa.schema([schema.field(name) for name in known.names])
        if schema != known:
            wrong = next(field for field in schema if field != known.field(field.name))
            raise ValueError(f"Column {wrong.name!r} holds {wrong.type}, in the index {known.field(wrong.name).type}.")
    table = table.cast(schema)
    keys = table["key"]
    if keys.null_count or (len(keys) and (pc.min(keys).as_py() < 0 or len(pc.unique(keys)) < len(keys))):
        raise ValueError("The keys of rows must be 0 or more, and each may stand once.")
    return table


def _stored_type(field: pa.Field) -> pa.DataType:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.string()
    for is_kind, stored in (
        (pa.types.is_integer, pa.int64()),
        (pa.types.is_floating, pa.float64()),
        (pa.types.is_boolean, pa.bool_()),
    ):
        if is_kind(kind):
            return stored
    raise ValueError(f"Column {field.name!r} holds {field.type}; an index holds texts, numbers and booleans.")


def check_queries(queries: np.ndarray, k: int, dim: int) -> np.ndarray:
    """Return queries as (q, dim) float32 in one piece of memory.

    Raises:
        ValueError: k is below 1, the shape is another, or a number is not finite.
    """
    if k < 1:
        raise ValueError(f"k is {k}; it must be 1 or more.")
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise ValueError(f"Queries have the shape {queries.shape}; this index takes (number of queries, {dim}).")
    if not np.isfinite(queries).all():
        raise ValueError("A query is not finite.")
    return np.ascontiguousarray(queries, np.float32)


def search_in_order(search: Search, number: int, k: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k best of a backend that breaks ties as it likes, equal scores in the order of keys.

    Args:
        search: gives the best `width` scores and keys, (q, width), best first; -1 where there are fewer.
        number: of queries.
        k: of the answer.
        most: rows that can be found.

    Returns:
        scores (q, k) float32, keys (q, k) int64; -inf and -1 where there are fewer than k.
    """
    scores, keys = np.full((number, k), -np.inf, np.float32), np.full((number, k), -1, np.int64)
    width = min(k + 1, most)
    while number and width:
        found, found_keys = search(width)
        # Of rows as good as the last one that is returned, those with the smallest keys count: all have to be seen.
        if width <= k or width == most or not (found[:, k - 1] == found[:, -1])[found_keys[:, -1] >= 0].any():
            found = np.where(found_keys < 0, -np.inf, found)
            if (found[:, 1:] == found[:, :-1]).any():
                order = np.lexsort((found_keys, -found))
                found, found_keys = np.take_along_axis(found, order, 1), np.take_along_axis(found_keys, order, 1)
            scores[:, :width], keys[:, :width] = found[:, :k], found_keys[:, :k]
            break
        width = min(2 * width, most)
    return scores, keys


__all__ = ["RESERVED", "VectorIndex", "check_queries", "embeddings_of", "metadata_of", "search_in_order"]
