"""The predictions of a zero-shot classification, kept in shards on the way: a killed run resumes.

*setting*: a language and a way to make anchors, such as "zh ensemble"; all settings classify the same images.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...data.files.atomic import atomic_file
from ...data.files.shard_store import ShardStore, reading_shard, split_into_shards
from ...data.rows.report import BadRowError, BadRowReport

SHARD_KEY = b"wenlan.predictions"
FIRST = 5  # classes that are kept for an image


class Predictions(NamedTuple):
    """The predictions of one setting for n images, with k the smaller of `FIRST` and the number of classes.

    Attributes:
        top: (n, k) int32 the nearest classes; of equal ones the lower index comes first.
        scores: (n, k) float32 their cosines.
        margin: (n,) float32 cosine of the right class less that of the best other one.
        permuted: (n, k) int32 the nearest classes when each has the name of another.
    """

    top: np.ndarray
    scores: np.ndarray
    margin: np.ndarray
    permuted: np.ndarray


class Piece(NamedTuple):
    """The images of a shard: those that were classified, in order, and those that cannot be read.

    Attributes:
        names: of the n images.
        labels: (n,) int32 right class.
        settings: what each says.
        bad: name and error of the others.
    """

    names: Sequence[str]
    labels: np.ndarray
    settings: Mapping[str, Predictions]
    bad: Sequence[tuple[str, BadRowError]]


class PredictionShards(ShardStore[list[int]]):
    """The shards of a source of images; a shard is known by the first of its images and the one after its last.

    Args:
        folder: is made if need be.
        count: of images.
        size: images a shard, which is also what a kill can cost.
        settings: what the predictions are made by, as JSON has it.

    Raises:
        ValueError: the folder was begun with something else.
    """

    name, suffix = "predictions", ".parquet"

    def __init__(self, folder: Path, count: int, settings: Mapping[str, object], *, size: int) -> None:
        self.parts = split_into_shards(count, size)
        super().__init__(folder, [[part.start, part.stop] for part in self.parts], {**settings, "shard_size": size})

    def read_identity(self, path: Path) -> list[int]:
        """Return which images a shard holds; every page of it is read and compared with its checksum."""
        with reading_shard(path):
            metadata = pq.read_table(path, page_checksum_verification=True).schema.metadata
            return json.loads(metadata[SHARD_KEY])["identity"]

    def write(self, shard: int, piece: Piece) -> None:
        """Write a shard, which appears when it is complete."""
        bad = [(name, error.cause, error.found) for name, error in piece.bad]
        columns = {"name": pa.array(piece.names, pa.string()), "label": pa.array(piece.labels, pa.int32())}
        for setting, found in piece.settings.items():
            for part, values in found._asdict().items():
                flat = pa.array(values.reshape(-1))
                columns[f"{setting}/{part}"] = (
                    flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
                )
        table = pa.table(columns, metadata={SHARD_KEY: json.dumps({"identity": self.identities[shard], "bad": bad})})
        with atomic_file(self.path(shard)) as unfinished:
            pq.write_table(table, unfinished, compression="zstd", write_page_checksum=True)

    def read(self, shard: int) -> Piece:
        """Return what a shard holds.

        Raises:
            BadRowError: it is damaged.
        """
        with reading_shard(path := self.path(shard), "; start again with --resume"):
            table = pq.read_table(path, page_checksum_verification=True)
            settings = dict.fromkeys(name.rpartition("/")[0] for name in table.column_names if "/" in name)
            found = {
                one: Predictions(*(_read_array(table[f"{one}/{part}"]) for part in Predictions._fields))
                for one in settings
            }
            bad = json.loads(table.schema.metadata[SHARD_KEY])["bad"]
            bad = [(name, BadRowError(cause, what)) for name, cause, what in bad]
            return Piece(table["name"].to_pylist(), table["label"].to_numpy(), found, bad)

    def read_all(self, report: BadRowReport) -> Piece:
        """Return what all shards hold as one, and count good and bad images."""
        pieces = [self.read(shard) for shard in range(len(self.parts))]
        for piece in pieces:
            report.keep_rows(len(piece.names))
            for name, error in piece.bad:
                report.add_bad_row(error, name)
        settings = [one for piece in pieces[:1] for one in piece.settings]
        return Piece(
            [name for piece in pieces for name in piece.names],
            np.concatenate([piece.labels for piece in pieces]),
            {
                one: Predictions(*map(np.concatenate, zip(*(piece.settings[one] for piece in pieces), strict=True)))
                for one in settings
            },
            [bad for piece in pieces for bad in piece.bad],
        )


def _read_array(column: pa.ChunkedArray) -> np.ndarray:
    if isinstance(column.type, pa.FixedSizeListType):
        return column.combine_chunks().flatten().to_numpy().reshape(-1, column.type.list_size)
    return column.to_numpy()


__all__ = ["FIRST", "Piece", "PredictionShards", "Predictions"]
