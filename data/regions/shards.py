"""Shards of regions: Parquet files that appear whole or not at all, and that record the inputs they had to leave out.

*input*: an image, or the features of one, by its id.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from ..files.atomic import atomic_file
from ..files.shard_store import reading_shard
from .schema import METADATA_KEY, RegionInfo, StoredRow

if TYPE_CHECKING:
    import pyarrow as pa

SHARD_NAME = re.compile(r"regions-(\d{5})-of-(\d{5})\.parquet")
REPORT = "report.json"  # of a folder of shards
FAILED = "failed"  # its field that says why nobody should read them
SHARD_KEY = b"wenlan.shard"
GROUP_BYTES = 16 << 20  # of a row group: what a reader holds at least


@dataclass(frozen=True)
class SkippedInput:
    """An input without a row: where it was looked for, a short phrase to count by, and what was found."""

    image_id: str
    path: str
    cause: str
    message: str


@dataclass(frozen=True)
class ShardHeader:
    """Metadata of a shard: common information of its rows, digest of its input ids, of their files, inputs left out.

    The digest of the files is None in shards that were written before it was kept.
    """

    info: RegionInfo
    digest: str
    content: str | None
    skipped: tuple[SkippedInput, ...]
    num_rows: int


def write_shard(
    path: Path,
    rows: Iterable[StoredRow],
    info: RegionInfo,
    *,
    digest: str = "",
    content: str = "",
    skipped: Sequence[SkippedInput] = (),
) -> None:
    """Write rows, as `RegionInfo.encode` gives them, to a Parquet file that appears when it is complete.

    Pages are compressed with zstd and carry checksums.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    metadata = {METADATA_KEY: info.to_json(), b"wenlan.version": version("wenlan")}
    with (
        atomic_file(path) as unfinished,
        pq.ParquetWriter(
            unfinished,
            info.schema().with_metadata(metadata),
            compression="zstd",
            use_dictionary=["background_index"],
            write_statistics=False,
            write_page_checksum=True,
        ) as writer,
    ):
        for group in _groups(rows):
            writer.write_batch(pa.RecordBatch.from_pylist(group, writer.schema))
        shard = {"digest": digest, "content": content, "skipped": [asdict(entry) for entry in skipped]}
        writer.add_key_value_metadata({SHARD_KEY: json.dumps(shard)})


def _groups(rows: Iterable[StoredRow]) -> Iterator[list[StoredRow]]:
    group: list[StoredRow] = []
    num_bytes = 0
    for row in rows:
        group.append(row)
        features = row["features"]
        assert isinstance(features, bytes)  # of `RegionInfo.encode`
        num_bytes += len(features)
        if num_bytes >= GROUP_BYTES:
            yield group
            group, num_bytes = [], 0
    if group:
        yield group


def read_header(path: Path) -> ShardHeader:
    """Return the metadata of a shard; its rows are not read.

    Raises:
        BadRowError: with the cause "broken shard", if it is no whole Parquet file of regions.
    """
    import pyarrow.parquet as pq

    with reading_shard(path):
        metadata = pq.read_metadata(path)
        info = RegionInfo.from_json(metadata.metadata[METADATA_KEY])
        shard = json.loads(metadata.metadata[SHARD_KEY])
        skipped = tuple(SkippedInput(**entry) for entry in shard["skipped"])
        return ShardHeader(info, shard["digest"], shard.get("content"), skipped, metadata.num_rows)


def read_batches(path: Path) -> "Iterator[pa.RecordBatch]":
    """Yield the rows of a shard, a row group at a time, with the checksums verified.

    Raises:
        BadRowError: with the cause "broken shard", at the first damaged page.
    """
    import pyarrow.parquet as pq

    with reading_shard(path), pq.ParquetFile(path, page_checksum_verification=True) as parquet:
        for group in range(parquet.num_row_groups):
            yield from parquet.read_row_group(group).to_batches()


__all__ = [
    "FAILED",
    "REPORT",
    "SHARD_KEY",
    "SHARD_NAME",
    "ShardHeader",
    "SkippedInput",
    "read_batches",
    "read_header",
    "write_shard",
]
