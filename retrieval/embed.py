"""A folder of images or a file of sentences to a Parquet file of embeddings.

A run that was killed resumes with the same command: finished pieces lie in a hidden folder beside the output until it
is complete, and the output has the same bytes as that of an unbroken run.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor
from tqdm.auto import tqdm

from ..data.files.atomic import atomic_file, check_output_file
from ..data.files.hashing import hash_model
from ..data.files.lock import output_lock
from ..data.files.shard_store import ShardStore, reading_shard
from ..data.rows.report import BadRowError, BadRowReport, TooManyBadRowsError, check_fraction
from ..data.rows.vocabulary import SAMPLE, check_vocabulary
from ..pipelines.embedding import embed_images, embed_texts
from ..pipelines.open_brivl import hash_processor, open_brivl
from ..processing.regions.feature_extractor import RegionFeatureExtractor
from .embed_inputs import EmbedInputs, Item, identify, load

SHARD_KEY = b"wenlan.embeddings"


def embed_to_parquet(
    model: str,
    source: Path,
    output: Path,
    *,
    detector: str | None = None,
    text_column: str = "text",
    split: str | None = None,
    batch_size: int = 32,
    shard_size: int = 256,
    max_bad_fraction: float = 0.1,
    encoding: str | None = None,
) -> BadRowReport:
    """Write `id` (path below the folder, or the sentence) and `embedding` (d float32, unit length) row by row.

    What cannot be embedded is left out and counted. The file appears only when it is complete.

    Args:
        model: folder or hub id of a BriVL model.
        source: a folder of images (see `list_images`), an image, a text file with one sentence a line (see
            `open_text`), or a file of pairs, whose captions are read.
        output: the Parquet file.
        detector: folder or hub id of the region detector whose boxes the model looks at (BriVL 1.0), for images.
        text_column, split: of a file of pairs: the column with the captions, and whose rows are taken; None: all.
        batch_size: images or sentences at a time.
        shard_size: images or sentences a shard, which is also what a kill can cost.
        max_bad_fraction: a greater fraction left out is an error; the finished shards stay for the next try.
        encoding: of a text file, if it is not UTF-8 or UTF-16.

    Returns:
        Counts of what was written and what was left out, over all runs into `output`.

    Raises:
        FileNotFoundError: no such source.
        ValueError: the source is the output or of another kind, or a detector was given for sentences; another process
            writes the output, or it was begun with another model; an embedding is not finite. Nothing is written.
        TooManyBadRowsError: too much was left out, and the file is not written.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be 1 or more.")
    check_fraction(max_bad_fraction)
    if output.is_dir():
        raise ValueError(f"{output} is a folder; give the name of a file, such as {output / 'embeddings.parquet'}.")
    check_output_file(output, source)
    inputs = EmbedInputs.open(source, encoding=encoding, text_column=text_column, split=split)
    if detector is not None and not inputs.are_images:
        raise ValueError(f"A detector finds boxes in images, but {source} is a file of sentences; leave it out.")
    encoder, processor = open_brivl(model)
    settings = {"model": hash_model(encoder), "processor": hash_processor(processor), "detector": None}
    embed = partial(embed_images if inputs.are_images else embed_texts, encoder, processor, batch_size=batch_size)
    if detector is not None:
        extractor = RegionFeatureExtractor.from_pretrained(detector)
        settings["detector"] = extractor.model_hash
        embed = partial(embed, detector=extractor)
    with output_lock(folder := output.with_name(f".{output.name}.shards")), _removed_if_useless(folder):
        store = EmbeddingShards.open(folder, inputs, settings, batch_size, shard_size)
        if not inputs.are_images:
            head = [item for _, item in next(inputs.pieces(SAMPLE), []) if isinstance(item, str)]
            check_vocabulary(processor.tokenizer, head, max_tokens=processor.max_text_length, what="sentences")
        as_original, pending = processor.image_processor.as_original, set(store.pending())
        for shard, piece in enumerate(tqdm(inputs.pieces(shard_size), desc="embed", total=len(store.identities))):
            if shard in pending:
                store.write(shard, *_embed_piece(piece, embed, as_original), dim=encoder.config.projection_dim)
        report = store.report(source)
        report.not_looked_at.update(inputs.not_looked_at)
        if report.rows_kept:
            report.raise_above(max_bad_fraction)
            store.merge(output)
    if not report.rows_kept:
        raise TooManyBadRowsError(f"Nothing in {source} can be embedded.\n{report}")
    return report


@contextmanager
def _removed_if_useless(folder: Path) -> Iterator[None]:
    """Remove the folder of shards at the end, and after an error that came before the first one."""
    try:
        yield
    except Exception:
        if not any(folder.glob(f"{EmbeddingShards.name}-*")):
            shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


def _embed_piece(
    piece: Sequence[Item], embed: Callable[[Iterable], Tensor], as_original: bool
) -> tuple[list[str], Tensor | None, list[tuple[str, BadRowError]]]:
    """Return the ids and embeddings (n, d) of the good items of a piece, and the bad ones."""
    ids: list[str] = []
    bad: list[tuple[str, BadRowError]] = []

    def good_items() -> Iterator[Any]:
        for place, item in piece:
            try:
                loaded = load(item, as_original=as_original)
            except BadRowError as error:
                bad.append((place, error))
                continue
            ids.append(loaded if isinstance(loaded, str) else place)
            yield loaded

    items = good_items()
    first = list(islice(items, 1))
    return ids, embed(chain(first, items)) if first else None, bad


class EmbeddingShards(ShardStore[str]):
    """The embeddings of the pieces of some inputs; a shard is known by the hash of its piece."""

    name, suffix = "embeddings", ".parquet"

    @classmethod
    def open(
        cls, folder: Path, inputs: EmbedInputs, settings: dict[str, str | None], batch_size: int, shard_size: int
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

    def write(
        self, shard: int, ids: Sequence[str], embeddings: Tensor | None, bad: list[tuple[str, BadRowError]], *, dim: int
    ) -> None:
        """Write a shard, which appears when it is complete."""
        header = {
            "identity": self.identities[shard],
            "bad": [(place, error.cause, error.found) for place, error in bad],
        }
        metadata = {SHARD_KEY: json.dumps(header)}
        schema = pa.schema({"id": pa.string(), "embedding": pa.list_(pa.float32(), dim)}, metadata)
        values = pa.array([] if embeddings is None else embeddings.flatten().numpy(), pa.float32())
        columns = [pa.array(ids, pa.string()), pa.FixedSizeListArray.from_arrays(values, dim)]
        with atomic_file(self.path(shard)) as unfinished:
            table = pa.Table.from_arrays(columns, schema=schema)
            pq.write_table(table, unfinished, compression="zstd", write_page_checksum=True)

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


__all__ = ["EmbeddingShards", "embed_to_parquet"]
