"""Vector index in a collection of Milvus: a cluster, a server, or milvus-lite in this process.

A token for the server is read from the environment, `MILVUS_TOKEN`, and written nowhere. Rows are in the collection as
soon as `add` returns; `save` only notes where they are and the state, so that a kill in between leaves rows that the
state does not tell of: adding and removing them again changes nothing.
"""

import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa

from ...data.files.json_files import read_json, write_json
from ..filters import Filter, check_milvus_name
from .base import check_queries, embeddings_of, metadata_of, search_in_order
from .faiss import FLAT_ROWS, NPROBE, list_count

if TYPE_CHECKING:
    from pymilvus import MilvusClient
    from pymilvus.milvus_client import IndexParams

TOKEN = "MILVUS_TOKEN"
TIMEOUT = 10  # seconds for a connection
CALL_TIMEOUT = 300  # seconds for a call
BATCH_BYTES = 8 << 20  # of a message; Milvus takes 64 MB
MOST = 16_384  # rows in an answer, and keys in a call, that Milvus gives and takes
MAX_TEXT = 65_535  # bytes of a text field
MAX_LISTS = 65_536
MANIFEST = "milvus.json"
OWNER = "wenlan.owner"  # property of a collection; milvus-lite forgets descriptions
LISTS, FLAT = "IVF_SQ8", "FLAT"


class MilvusIndex:
    """Vector index in a collection of Milvus; see `VectorIndex`. A collection that is there is replaced.

    Args:
        dim: numbers in an embedding.
        uri: `http://HOST:19530`, or a path that ends in .db for milvus-lite.
        collection: name of the collection.
        owner: text that tells whose the collection is; one of another owner is never replaced.
        flat_rows: up to so many rows the search is exhaustive and exact; above, the server builds lists of 8-bit codes.
        nprobe: lists that a query looks into, in every segment of the server.

    Raises:
        ImportError: pymilvus is not installed.
        ConnectionError: the server cannot be reached.
        ValueError: the collection is of another owner, or the address holds a password.
    """

    def __init__(
        self, dim: int, *, uri: str, collection: str, owner: str, flat_rows: int = FLAT_ROWS, nprobe: int = NPROBE
    ) -> None:
        self.dim, self.collection, self.owner = dim, collection, owner
        self.uri = str(Path(uri).resolve()) if uri.endswith(".db") else uri
        self.flat_rows, self.nprobe = flat_rows, nprobe
        self.state: dict[str, int] = {}
        self._client = _connect(self.uri)
        if self._there():
            self._check_owner()
            with self._calling():
                self._client.drop_collection(collection, timeout=CALL_TIMEOUT)
        self._schema: pa.Schema | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        if self._schema is None:
            return 0
        with self._calling():
            [row] = self._client.query(
                self.collection, output_fields=["count(*)"], consistency_level="Strong", timeout=CALL_TIMEOUT
            )
        return int(row["count(*)"])

    def add(self, rows: pa.Table) -> None:
        """Add or replace rows; see `VectorIndex.add`.

        Raises:
            ValueError: as there, or Milvus does not take the name of a column or so long a text.
        """
        table, vectors = metadata_of(rows, self._schema), embeddings_of(rows, self.dim)
        _check_texts(table)
        if self._schema is None:
            self._create(table.schema)
        if not len(table):
            return
        size = max(1, BATCH_BYTES // (math.ceil(table.nbytes / len(table)) + 4 * self.dim))
        for start in range(0, len(table), size):
            batch = table.slice(start, size).to_pylist()
            for row, vector in zip(batch, vectors[start : start + size], strict=True):
                row["embedding"] = vector
            with self._calling():
                self._client.upsert(self.collection, batch, timeout=CALL_TIMEOUT)
        self._suit_index()

    def remove(self, keys: np.ndarray) -> None:
        """Remove rows; see `VectorIndex.remove`."""
        for some in _batches(keys):
            if self._schema is not None:
                with self._calling():
                    self._client.delete(self.collection, ids=some, timeout=CALL_TIMEOUT)

    def search(self, queries: np.ndarray, k: int, *, where: Filter | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return scores (q, k) and keys (q, k); see `VectorIndex.search`. Above `flat_rows` rows it is approximate.

        Raises:
            ValueError: as there, or both k and the number of rows are above 16,384.
        """
        queries = check_queries(queries, k, self.dim)
        if where is not None and self._schema is not None:
            where.check(self._schema)
        condition = "" if where is None else where.to_milvus()
        most = min(len(self), MOST) if k >= MOST else MOST
        if k > MOST and len(self) > MOST:
            raise ValueError(f"k is {k}; Milvus gives {MOST:,} rows at most.")

        def search(width: int) -> tuple[np.ndarray, np.ndarray]:
            scores, keys = np.zeros((len(queries), width), np.float32), np.full((len(queries), width), -1, np.int64)
            with self._calling():
                answers = self._client.search(
                    self.collection,
                    data=list(queries),
                    filter=condition,
                    limit=width,
                    search_params={"metric_type": "IP", "params": {"nprobe": self.nprobe}},
                    consistency_level="Strong",
                    timeout=CALL_TIMEOUT,
                )
            for row, answer in enumerate(answers):
                scores[row, : len(answer)] = [hit["distance"] for hit in answer]
                keys[row, : len(answer)] = [hit["key"] for hit in answer]
            return scores, keys

        return search_in_order(search, len(queries), k, 0 if self._schema is None else most)

    def fetch(self, keys: np.ndarray) -> pa.Table:
        """Return rows without their embeddings; see `VectorIndex.fetch`."""
        found: dict[int, dict] = {}
        schema = self._schema or pa.schema([])
        for some in _batches(keys) if len(schema) else ():
            with self._calling():
                rows = self._client.get(self.collection, some, output_fields=schema.names, timeout=CALL_TIMEOUT)
            found |= {row["key"]: row for row in rows}
        if missing := [int(key) for key in keys if key not in found]:
            raise ValueError(f"There is no row with the key {missing[0]} in the index.")
        return pa.Table.from_pylist([found[key] for key in keys.tolist()], schema)

    def save(self, folder: Path) -> None:
        """Write where the rows are, and the state; see `VectorIndex.save`."""
        types = {} if self._schema is None else {field.name: str(field.type) for field in self._schema}
        names = ("dim", "uri", "collection", "owner", "flat_rows", "nprobe", "state")
        write_json(folder / MANIFEST, {name: getattr(self, name) for name in names} | {"columns": types})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the index that a folder tells of; see `VectorIndex.load`.

        Raises:
            ConnectionError: the server cannot be reached.
            FileNotFoundError, ValueError: as there, or the collection is gone or another's.
        """
        path = folder / MANIFEST
        saved = read_json(path)
        if not isinstance(saved, dict):
            raise ValueError(f"{path} is damaged; remove it, and the index is made again.")
        index = cls.__new__(cls)
        try:
            for name in ("dim", "flat_rows", "nprobe"):
                setattr(index, name, int(saved[name]))
            for name in ("uri", "collection", "owner"):
                setattr(index, name, str(saved[name]))
            index.state = {str(name): int(value) for name, value in saved["state"].items()}
            types = {"int64": pa.int64(), "string": pa.string(), "double": pa.float64(), "bool": pa.bool_()}
            index._schema = pa.schema([(name, types[kind]) for name, kind in saved["columns"].items()]) or None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path} is damaged ({error!r}); remove it, and the index is made again.") from error
        index._client = _connect(index.uri)
        if index._schema is not None:
            if not index._there():
                raise ValueError(f"Milvus at {index.uri} has no collection {index.collection!r}; build it again.")
            index._check_owner()
            with index._calling():
                index._client.load_collection(index.collection, timeout=CALL_TIMEOUT)
        return index

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _there(self) -> bool:
        with self._calling():
            return bool(self._client.has_collection(self.collection, timeout=CALL_TIMEOUT))

    def _check_owner(self) -> None:
        with self._calling():
            found = self._client.describe_collection(self.collection, timeout=CALL_TIMEOUT)
        found = found.get("properties", {}).get(OWNER)
        if found != self.owner:
            raise ValueError(
                f"The collection {self.collection!r} in Milvus at {self.uri} is of {found or 'somebody'!r}, not "
                f"of {self.owner!r}; choose another name."
            )

    def _create(self, columns: pa.Schema) -> None:
        from pymilvus import DataType

        types = {pa.int64(): DataType.INT64, pa.float64(): DataType.DOUBLE, pa.bool_(): DataType.BOOL}
        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        for field in columns:
            check_milvus_name(field.name)
            if field.name == "key":
                schema.add_field("key", DataType.INT64, is_primary=True)
            elif field.type == pa.string():
                schema.add_field(field.name, DataType.VARCHAR, max_length=MAX_TEXT, nullable=True)
            else:
                schema.add_field(field.name, types[field.type], nullable=True)
        schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=self.dim)
        with self._calling():
            self._client.create_collection(
                self.collection,
                schema=schema,
                index_params=self._index_params(FLAT, 0),
                consistency_level="Strong",
                properties={OWNER: self.owner},
                timeout=CALL_TIMEOUT,
            )
        self._schema = columns

    def _suit_index(self) -> None:
        """Replace the exhaustive index by lists where the rows have become many."""
        rows = len(self)
        if rows <= self.flat_rows:
            return
        with self._calling():
            [name] = self._client.list_indexes(self.collection, field_name="embedding")
            if self._client.describe_index(self.collection, name, timeout=CALL_TIMEOUT)["index_type"] == LISTS:
                return
            self._client.release_collection(self.collection, timeout=CALL_TIMEOUT)
            self._client.drop_index(self.collection, name, timeout=CALL_TIMEOUT)
            self._client.create_index(self.collection, self._index_params(LISTS, rows), timeout=CALL_TIMEOUT)
            self._client.load_collection(self.collection, timeout=CALL_TIMEOUT)

    def _index_params(self, kind: str, rows: int) -> "IndexParams":
        params = self._client.prepare_index_params()
        lists = {"nlist": min(list_count(rows), MAX_LISTS)} if kind == LISTS else {}
        params.add_index("embedding", index_type=kind, index_name="embedding", metric_type="IP", params=lists)
        return params

    def _calling(self) -> AbstractContextManager[None]:
        return _one_line(self.uri)


def _connect(uri: str) -> "MilvusClient":
    if "@" in uri:
        raise ValueError(f"The address of Milvus holds a password; set {TOKEN}=USER:PASSWORD in the environment.")
    from pymilvus import MilvusClient

    for name in ("pymilvus", "milvus_lite"):  # they write each error with its stack, which is raised too
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if uri.endswith(".db"):
        Path(uri).parent.mkdir(parents=True, exist_ok=True)
    with _one_line(uri):
        return MilvusClient(uri, token=os.environ.get(TOKEN, ""), timeout=TIMEOUT)


@contextmanager
def _one_line(uri: str) -> Iterator[None]:
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except MilvusException as error:
        problem = " ".join(str(error.message).split())[:300]
        hint = "; another process has it open" if uri.endswith(".db") else ""
        raise ConnectionError(f"Milvus at {uri} does not do it: {problem}{hint}.") from error


def _check_texts(table: pa.Table) -> None:
    for field in table.schema:
        if field.type == pa.string():
            longest = pa.compute.max(pa.compute.binary_length(table[field.name])).as_py() or 0
            if longest > MAX_TEXT:
                raise ValueError(f"Column {field.name!r} holds a text of {longest:,} bytes; Milvus takes {MAX_TEXT:,}.")


def _batches(keys: np.ndarray) -> Iterator[Sequence[int]]:
    for start in range(0, len(keys), MOST // 2):
        yield keys[start : start + MOST // 2].tolist()


__all__ = ["MilvusIndex"]
