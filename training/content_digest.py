"""Digests of what a run is trained on, so that a resumed one notices other content.

Rows are digested whole, in their order, with the names of their image files below the folder that they share; images by
the bytes that are read to check them before training. Shards, which are too much to be read, are digested by name, size
and their first and last 64 KiB.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.files.hashing import DIGITS
from ..data.mlmm.corpus import MLMMCorpus
from ..processing.image_decoding import decode_image

if TYPE_CHECKING:
    from datasets import Dataset
    from PIL import Image

PIECE = 1000  # rows at a time
ENDS = 1 << 16  # bytes of a shard's head and tail


class DigestedImages:
    """Decode images, as a check of them, and keep a digest of the bytes of all that could be decoded, in order."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def __call__(self, source: str | bytes) -> "Image.Image":
        """Return the image.

        Raises:
            ImageDecodingError: it cannot be decoded.
        """
        image = decode_image(source)
        self._digest.update(hashlib.sha256(source if isinstance(source, bytes) else Path(source).read_bytes()).digest())
        return image

    @property
    def digest(self) -> str:
        """The digest so far, 16 hexadecimal digits."""
        return self._digest.hexdigest()[:DIGITS]


def digest_values(values: Iterable[Any]) -> str:
    """Return 16 hexadecimal digits that identify plain values, in their order."""
    digest = hashlib.sha256()
    for value in values:
        digest.update(json.dumps(value, sort_keys=True, default=str).encode() + b"\n")
    return digest.hexdigest()[:DIGITS]


def digest_rows(dataset: "Dataset") -> str:
    """Return 16 hexadecimal digits that identify the rows of a dataset; an image in a file counts by its name."""
    import datasets

    if "image" in dataset.column_names and isinstance(dataset.features["image"], datasets.Image):
        dataset = dataset.cast_column("image", datasets.Image(decode=False))
    return digest_values(_plain_rows(dataset))


def _plain_rows(dataset: "Dataset") -> Iterator[dict[str, Any]]:
    root = ""
    for start in range(0, len(dataset), PIECE):
        columns = dataset[start : start + PIECE]
        for values in zip(*columns.values(), strict=True):
            row = dict(zip(columns, values, strict=True))
            if isinstance(image := row.get("image"), dict):
                root = root or os.path.dirname(image["path"] or "")
                data = image["bytes"]
                row["image"] = hashlib.sha256(data).hexdigest() if data else os.path.relpath(image["path"], root or ".")
            yield row


def digest_shards(paths: Sequence[str | Path]) -> str:
    """Return 16 hexadecimal digits that identify files by name, size, head and tail, in any order."""
    return digest_values(sorted(_ends(Path(path)) for path in paths))


def _ends(path: Path) -> tuple[str, int, str]:
    size = path.stat().st_size
    with path.open("rb") as file:
        ends = file.read(ENDS)
        file.seek(max(0, size - ENDS))
        ends += file.read(ENDS)
    return path.name, size, hashlib.sha256(ends).hexdigest()


def digest_regions(folders: Sequence[str | Path]) -> str:
    """Return 16 hexadecimal digits that identify the shards of regions in folders; a folder may also be one shard."""
    found = [[folder] if folder.is_file() else folder.glob("*.parquet") for folder in map(Path, folders)]
    return digest_shards([path for paths in found for path in paths])


def digest_corpus(corpus: MLMMCorpus) -> str:
    """Return 16 hexadecimal digits that identify captions, their images, hard negatives and tasks of a corpus."""
    captions = (
        (language, table.text(index), int(table.images[index]))
        for language, table in corpus.captions.items()
        for index in range(len(table))
    )
    hard = [corpus.hard_negatives] if corpus.hard_negatives else []
    return digest_values([corpus.tasks, list(corpus.captions), *hard, *captions])


__all__ = ["DigestedImages", "digest_corpus", "digest_regions", "digest_rows", "digest_shards", "digest_values"]
