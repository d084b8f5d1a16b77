"""Shards of embeddings on their way to one Parquet file."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..data.files.atomic import atomic_file
from ..data.files.shard_store import ShardStore, reading_shard
from ..data.rows.report import BadRowError, BadRowReport
from .embed_inputs import EmbedInputs, Item, identify
from .embed_worker import Embedded

SHARD_KEY = b"wenlan.embeddings"


@dataclass(frozen=True)
class ShardTask:
    """A shard to be written, the hash of its items, and the items."""

    path: Path
    identity: str
    items: list[Item]

    def write(self, embedded: Embedded) -> None:
        """Write the shard, which appears when it is complete."""
        bad = [(place, error.cause, error.found) for place, error in embedded.bad]
        metadata = {SHARD_KEY: json.dumps({"identity": self.identity, "bad": bad})}
        dim = embedded.embeddings.shape[1]
        schema = pa.schema({"id": pa.string(), "embedding": pa.list_(pa.float32(), dim)}, metadata)
        values = pa.array(embedded.embeddings.ravel(), pa.float32())
        columns = [pa.array(embedded.ids, pa.string()), pa.FixedSizeListArray.from_arrays(values, dim)]
        with atomic_file(self.path) as unfinished:
            table = pa.Table.from_arrays(columns, schema=schema)
            pq.write_table(table, unfinished, compression="zstd", write_page_checksum=True)


class EmbeddingShards(ShardStore[str]):
    """The embeddings of the pieces of some inputs; a shard is known by the hash of its piece."""

    name, suffix = "embeddings", ".parquet"

    @classmethod
    def open(
        cls, folder: Path, inputs: EmbedInputs, settings: Mapping[str, str | None], batch_size: int, shard_size: int
    ) -> "EmbeddingShards":
        """Return the shards of inputs, of which a killed run may have written some.

        Raises:
            ValueError: that run had another model, or the inputs cannot be read.
        """
        if shard_size < 1:
            raise ValueError(f"shard_size is {shard_size}; it must be 1 or more.")
        identities = [f"{identify(piece)}-{batch_size}" for piece in inputs.pieces(shard_size)]
        try:
            return cls(folder, identities, settings)
        except ValueError as error:
            raise ValueError(f"{error} Or remove {folder}.") from error

    def read_identity(self, path: Path) -> str:
        """Return the hash of the piece that a shard holds."""
        return self._read_header(path)["identity"]

    def tasks(self, pieces: Iterable[list[Item]], pending: Iterable[int]) -> Iterable[ShardTask]:
        """Return the shards that are still to be written.

        Args:
            pieces: the items of all shards.
            pending: numbers of those shards, see `ShardStore.pending`.
        """
        wanted = set(pending)
        return (
            ShardTask(self.path(shard), self.identities[shard], piece)
            for shard, piece in enumerate(pieces)
            if shard in wanted
        )

    def report(self, source: Path) -> BadRowReport:
        """Return how many rows there are and what was left out."""
        report = BadRowReport(source)
        for path in self.paths():
            with reading_shard(path, "; start again"):
                report.keep_rows(pq.read_metadata(path).num_rows)
            for place, cause, found in self._read_header(path)["bad"]:
                report.add_bad_row(BadRowError(cause, found), place)
        return report

    def merge(self, output: Path) -> None:
        """Write all rows into one file."""
        schema = pq.read_schema(self.path(0)).remove_metadata()
        with atomic_file(output) as unfinished, pq.ParquetWriter(unfinished, schema, compression="zstd") as writer:
            for path in self.paths():
                with reading_shard(path, "; start again"):
                    table = pq.read_table(path, page_checksum_verification=True)
                writer.write_table(table.replace_schema_metadata())

    def _read_header(self, path: Path) -> dict[str, Any]:
        with reading_shard(path):
            return json.loads(pq.read_metadata(path).metadata[SHARD_KEY])


__all__ = ["EmbeddingShards", "ShardTask"]
