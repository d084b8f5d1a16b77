"""Vector index of faiss: exact on 16-bit vectors while that is fast, above it lists of 8-bit codes (IVF + SQ8).

A folder holds `index.json`, which is renamed into place last, and the two files that it names: a kill while saving
leaves the old three. The rows are memory-mapped.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import torch

from ...data.files.atomic import atomic_file
from ...data.files.hashing import hash_file
from ...data.files.json_files import read_json, write_json
from ..filters import Filter
from .base import check_queries, embeddings_of, metadata_of, search_in_order

if TYPE_CHECKING:
    import faiss

# Measured by benchmarks/retrieval/search.py, one query on one thread: exact search takes 3.6 ms among 100,000 rows
# of 512 numbers and 6.9 ms of 1,024, lists 0.5 and 0.9 ms. The first grows with the rows, the second with their root.
FLAT_ROWS = 100_000
# Recall@10 among 101,672 embeddings of images and sentences: 0.984 and 0.982; with 32 lists 0.973 and 0.962.
NPROBE = 64
SAMPLE_PER_LIST = 64
OUTGROWN = 2  # times as many lists would suit the rows, which are 4 times as many: all are put into new lists
CHUNK = 16_384  # rows that are decoded at a time
MANIFEST = "index.json"
VERSION = 1


class FaissIndex:
    """Vector index in the memory of this process; see `VectorIndex`.

    Args:
        dim: numbers in an embedding.
        flat_rows: up to so many rows the search is exhaustive and exact; above, it looks into a part of the lists.
        nprobe: lists that a query looks into. A filter that leaves a part of the rows raises it, so that as many rows
            are compared as without one: all that there are, if the filter leaves few.
    """

    def __init__(self, dim: int, *, flat_rows: int = FLAT_ROWS, nprobe: int = NPROBE) -> None:
        self.dim, self.flat_rows, self.nprobe = dim, flat_rows, nprobe
        self.state: dict[str, int] = {}
        self._rows: pa.Table | None = None  # sorted by key
        self._keys = np.empty(0, np.int64)
        self._index = _flat_index(dim)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._keys)

    @property
    def is_exact(self) -> bool:
        """True while every vector is compared with a query."""
        import faiss

        return isinstance(self._index, faiss.IndexIDMap)

    def add(self, rows: pa.Table) -> None:
        """Add or replace rows; see `VectorIndex.add`."""
        _use_threads()
        table = metadata_of(rows, None if self._rows is None else self._rows.schema)
        vectors, keys = embeddings_of(rows, self.dim), table["key"].to_numpy()
        self.remove(keys)
        self._index.add_with_ids(vectors, keys)
        is_last = not len(self) or not len(keys) or keys.min() > self._keys[-1]
        self._rows = table if self._rows is None else pa.concat_tables([self._rows, table])
        self._keys = np.concatenate([self._keys, keys])
        if not is_last or (np.diff(keys) < 0).any():
            order = np.argsort(self._keys)
            self._rows, self._keys = self._rows.take(order), self._keys[order]
        if len(self) > self.flat_rows and (self.is_exact or list_count(len(self)) >= OUTGROWN * self._index.nlist):
            self._index = _inverted_index(self._index, len(self))

    def remove(self, keys: np.ndarray) -> None:
        """Remove rows; see `VectorIndex.remove`."""
        import faiss

        there = np.isin(self._keys, keys)
        if self._rows is None or not there.any():
            return
        self._index.remove_ids(faiss.IDSelectorBatch(self._keys[there]))
        self._rows, self._keys = self._rows.filter(pa.array(~there)), self._keys[~there]
        if not len(self):
            self._index = _flat_index(self.dim)

    def search(self, queries: np.ndarray, k: int, *, where: Filter | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return scores (q, k) and keys (q, k); see `VectorIndex.search`. Scores of 8-bit codes are approximate."""
        _use_threads()
        queries = check_queries(queries, k, self.dim)
        allowed = None if where is None else self._allowed(where)
        most = len(self) if allowed is None else len(allowed)

        def search(width: int) -> tuple[np.ndarray, np.ndarray]:
            scores, keys = self._index.search(queries, width, params=self._parameters(allowed, most))
            if not self.is_exact and (keys < 0).any():  # the lists that were looked into hold less
                scores, keys = self._index.search(queries, width, params=self._parameters(allowed, 0))
            return scores, keys

        return search_in_order(search, len(queries), k, most)

    def fetch(self, keys: np.ndarray) -> pa.Table:
        """Return rows without their embeddings; see `VectorIndex.fetch`."""
        positions = np.searchsorted(self._keys, keys)
        there = self._keys[np.minimum(positions, len(self) - 1)] == keys if len(self) else np.zeros(len(keys), bool)
        if not there.all():
            raise ValueError(f"There is no row with the key {np.asarray(keys)[~there][0]} in the index.")
        return pa.table({}) if self._rows is None else self._rows.take(positions)

    def save(self, folder: Path) -> None:
        """Write the index; see `VectorIndex.save`."""
        import faiss

        number = 1 + max((int(path.stem.split("-")[1]) for path in _parts(folder)), default=0)
        vectors, rows = folder / f"vectors-{number}.faiss", folder / f"rows-{number}.arrow"
        with atomic_file(vectors) as unfinished:
            faiss.write_index(self._index, str(unfinished))
        with atomic_file(rows) as unfinished:
            table = pa.table({}) if self._rows is None else self._rows
            with pa.ipc.new_file(str(unfinished), table.schema) as file:
                file.write_table(table.combine_chunks(), max_chunksize=1 << 20)
        names = ("dim", "flat_rows", "nprobe", "state")
        hashes = {path.name: hash_file(path) for path in (vectors, rows)}
        settings = {name: getattr(self, name) for name in names}
        write_json(folder / MANIFEST, {"version": VERSION, **settings, "files": hashes})
        for path in set(_parts(folder)) - {vectors, rows}:
            path.unlink(missing_ok=True)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the index of a folder; see `VectorIndex.load`."""
        path = folder / MANIFEST
        manifest = read_json(path)
        if not isinstance(manifest, dict) or manifest.get("version") != VERSION:
            raise ValueError(f"{path} is no index of this version; remove {folder}, and it is made again.")
        try:
            index = cls(int(manifest["dim"]), flat_rows=int(manifest["flat_rows"]), nprobe=int(manifest["nprobe"]))
            index.state = {str(name): int(value) for name, value in manifest["state"].items()}
            vectors, rows = (folder / str(name) for name in manifest["files"])
            hashes = list(manifest["files"].values())
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path} is damaged ({error!r}); remove {folder}, and it is made again.") from error
        for file, expected in zip((vectors, rows), hashes, strict=True):
            if not file.is_file() or hash_file(file) != expected:
                raise ValueError(f"{file} is damaged or missing; remove {folder}, and it is made again.")
        return index._read(vectors, rows)

    def _read(self, vectors: Path, rows: Path) -> Self:
        import faiss

        try:
            self._index = faiss.read_index(str(vectors))
            table = pa.ipc.open_file(pa.memory_map(str(rows))).read_all()
        except (RuntimeError, pa.ArrowInvalid) as error:
            raise ValueError(f"{vectors} or {rows} cannot be read ({str(error)[:200]}); remove them.") from error
        if table.num_columns:
            self._rows, self._keys = table, table["key"].to_numpy()
        if self._index.d != self.dim or self._index.ntotal != len(self):
            raise ValueError(f"{vectors} and {rows} are not of one index; remove them, and they are made again.")
        return self

    def _allowed(self, where: Filter) -> np.ndarray:
        """Return the keys that a filter leaves."""
        if self._rows is None:
            return self._keys
        where.check(self._rows.schema)
        return self._rows.select(list(where.columns | {"key"})).filter(where.to_arrow())["key"].to_numpy()

    def _parameters(self, allowed: np.ndarray | None, most: int) -> "faiss.SearchParameters":
        """Return how to search among rows; without an estimate of their number (0), in all lists."""
        import faiss

        options = {} if allowed is None else {"sel": _selector(allowed, len(self))}
        if self.is_exact:
            return faiss.SearchParameters(**options)
        lists = self._index.nlist
        nprobe = min(lists, -(-self.nprobe * len(self) // most)) if most else lists
        return faiss.SearchParametersIVF(nprobe=nprobe, **options)


def list_count(rows: int) -> int:
    """Return the number of lists for so many rows.

    Twice the square root. Four times it, as the authors of faiss advise, trains four times as long, and finds the same
    in the same time.
    """
    return max(1, round(2 * rows**0.5))


def _flat_index(dim: int) -> "faiss.Index":
    import faiss

    flat = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    return faiss.IndexIDMap(flat)


def _inverted_index(index: "faiss.Index", rows: int) -> "faiss.Index":
    """Return the vectors of an index, flat or inverted, in as many lists as suit their number."""
    import faiss

    dim, lists = index.d, list_count(rows)
    quantizer = faiss.IndexFlatIP(dim)
    inverted = faiss.IndexIVFScalarQuantizer(
        quantizer, dim, lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT, False
    )
    chosen = np.sort(np.random.default_rng(0).permutation(rows)[: SAMPLE_PER_LIST * lists])
    sample, start = [], 0
    for _, vectors in _decoded(index):
        first, last = np.searchsorted(chosen, (start, start + len(vectors)))
        sample.append(vectors[chosen[first:last] - start])
        start += len(vectors)
    inverted.train(np.concatenate(sample))
    if isinstance(index, faiss.IndexIVF):  # of the same ranges the codes are the same, none loses by the move
        faiss.copy_array_to_vector(faiss.vector_to_array(index.sq.trained), inverted.sq.trained)
    for keys, vectors in _decoded(index):
        inverted.add_with_ids(vectors, keys)
    return inverted


def _decoded(index: "faiss.Index") -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield keys and vectors of an index, some at a time."""
    import faiss

    if isinstance(index, faiss.IndexIDMap):
        keys = faiss.vector_to_array(index.id_map)
        for start in range(0, len(keys), CHUNK):
            count = min(CHUNK, len(keys) - start)
            yield keys[start : start + count], index.index.reconstruct_n(start, count)
        return
    for number in range(index.nlist):
        if count := index.invlists.list_size(number):
            codes = faiss.rev_swig_ptr(index.invlists.get_codes(number), count * index.code_size)
            keys = faiss.rev_swig_ptr(index.invlists.get_ids(number), count).copy()
            yield keys, index.sq.decode(codes.reshape(count, -1))


def _selector(allowed: np.ndarray, rows: int) -> "faiss.IDSelector":
    import faiss

    if not len(allowed) or allowed.max() > 64 * rows:  # a bit for every key up to the largest would be too many
        return faiss.IDSelectorBatch(allowed)
    bits = np.zeros(allowed.max() + 1, bool)
    bits[allowed] = True
    return faiss.IDSelectorBitmap(np.packbits(bits, bitorder="little"))


def _parts(folder: Path) -> list[Path]:
    return [*folder.glob("vectors-*.faiss"), *folder.glob("rows-*.arrow")]


def _use_threads() -> None:
    """Give faiss, whose setting each thread has for itself, the number of threads of torch."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())


__all__ = ["FLAT_ROWS", "NPROBE", "FaissIndex", "list_count"]
