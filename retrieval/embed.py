"""A folder of images or a file of sentences to a Parquet file of embeddings."""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from tqdm.auto import tqdm

from ..data.files.atomic import atomic_file
from ..data.files.image_listing import list_images
from ..data.rows.text import is_blank
from ..data.rows.vocabulary import SAMPLE, check_vocabulary
from ..pipelines.embedding import embed_images, embed_texts
from ..pipelines.open_brivl import open_brivl
from ..processing.image_decoding import ImageDecodingError, decode_image
from ..processing.regions.feature_extractor import RegionFeatureExtractor

logger = logging.getLogger(__name__)


@dataclass
class EmbedReport:
    """Counts of what was written and what was left out."""

    output: Path
    rows: int = 0
    skipped: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        skipped = ", ".join(f"{count} {cause}" for cause, count in self.skipped.items())
        return f"{self.rows} embeddings in {self.output}" + (f"; skipped: {skipped}" if skipped else "")


def embed_to_parquet(
    model: str, source: Path, output: Path, *, detector: str | None = None, batch_size: int = 32
) -> EmbedReport:
    """Write `id` (path below the folder, or the sentence) and `embedding` (d float32, unit length) row by row.

    What cannot be embedded is skipped, logged once a cause and counted. The file appears only when it is complete.

    Args:
        model: folder or hub id of a BriVL model.
        source: a folder of images (searched recursively), or a UTF-8 text file with one sentence a line.
        output: the Parquet file.
        detector: folder or hub id of the region detector whose boxes the model looks at (BriVL 1.0), for images.
        batch_size: images or sentences at a time.

    Raises:
        FileNotFoundError: no such source.
        ValueError: nothing in it can be embedded, or a detector was given for sentences; nothing is written.
    """
    if not source.exists():
        raise FileNotFoundError(f"There is no {source}: give a folder of images or a text file.")
    if detector is not None and not source.is_dir():
        raise ValueError(f"A detector finds boxes in images, but {source} is a file of sentences; leave it out.")
    encoder, processor = open_brivl(model)
    report = EmbedReport(output)
    rows: Iterator[tuple[str, Any]] = _images(source, report) if source.is_dir() else _sentences(source, report)
    if not source.is_dir():
        head = list(islice(rows, SAMPLE))
        texts = [text for _, text in head]
        check_vocabulary(processor.tokenizer, texts, max_tokens=processor.max_text_length, what="sentences")
        rows = chain(head, rows)
    embed = embed_images if source.is_dir() else embed_texts
    if detector is not None:
        embed = partial(embed_images, detector=RegionFeatureExtractor.from_pretrained(detector))
    dim = encoder.config.projection_dim
    schema = pa.schema({"id": pa.string(), "embedding": pa.list_(pa.float32(), dim)})
    with atomic_file(output) as unfinished:
        with pq.ParquetWriter(unfinished, schema, compression="zstd") as writer, tqdm(desc="embed") as bar:
            while batch := list(islice(rows, batch_size)):
                ids, items = zip(*batch, strict=True)
                values = pa.array(embed(encoder, processor, items, batch_size=batch_size).flatten().numpy())
                writer.write_batch(
                    pa.record_batch([pa.array(ids), pa.FixedSizeListArray.from_arrays(values, dim)], schema)
                )
                report.rows += len(batch)
                bar.update(len(batch))
        if not report.rows:
            raise ValueError(f"Nothing in {source} can be embedded; skipped: {dict(report.skipped)}.")
    return report


def _images(folder: Path, report: EmbedReport) -> Iterator[tuple[str, Image.Image]]:
    for name, path in list_images(folder):
        try:
            image = decode_image(path)
        except ImageDecodingError as error:
            _skip(report, error.cause, error)
        else:
            yield name, image


def _sentences(file: Path, report: EmbedReport) -> Iterator[tuple[str, str]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                sentence = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError:
                _skip(report, "invalid UTF-8", f"{file}, line {number}")
                continue
            if not is_blank(sentence):
                yield sentence, sentence
            else:
                _skip(report, "empty line", f"{file}, line {number}")


def _skip(report: EmbedReport, cause: str, what: object) -> None:
    if not report.skipped[cause]:
        logger.warning("Skipped, %s: %s. Further ones of this cause are only counted.", cause, what)
    report.skipped[cause] += 1


__all__ = ["EmbedReport", "embed_to_parquet"]
