"""The raw translations of a corpus into one language, as Parquet shards: a killed run resumes.

Shard i holds piece i of the source, unfiltered, so that other filters need no new translation. A row is an image:
`image`, `has_list`, and, caption by caption, `source`, `text` (null where there is none) and `fault` (what the model
that translated it says is wrong, mostly null).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..captions.text_corpus import CaptionedImage, digest
from ..files.atomic import atomic_file
from ..files.shard_store import ShardStore, reading_shard

SHARD_KEY = b"wenlan.translation"


@dataclass(frozen=True)
class Translation:
    """A caption in another language.

    Attributes:
        text: None if there is none.
        fault: a filter's name (`FILTERS`), and ": " and what was found where there is no text; None for a good one.
    """

    text: str | None
    fault: str | None = None


class TranslationShards(ShardStore[str]):
    """The shards of one language; a shard is known by the `digest` of its piece of the source."""

    name, suffix = "translations", ".parquet"

    def read_identity(self, path: Path) -> str:
        """Return the digest of the piece that a shard holds."""
        import pyarrow.parquet as pq

        with reading_shard(path):
            return json.loads(pq.read_metadata(path).metadata[SHARD_KEY])

    def write(self, shard: int, piece: Sequence[CaptionedImage], translations: Sequence[Sequence[Translation]]) -> None:
        """Write a shard, which appears when it is complete: the translations of each row's captions, in their order.

        Raises:
            ValueError: the piece is not the one that the source had when the run began.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        if digest(piece) != self.identities[shard]:
            raise ValueError(f"The source was changed during the run, within rows of piece {shard}; start again.")
        texts = pa.list_(pa.string())
        schema = pa.schema(
            {"image": pa.string(), "has_list": pa.bool_(), "source": texts, "text": texts, "fault": texts},
            {SHARD_KEY: json.dumps(self.identities[shard])},
        )
        rows = [
            {
                "image": row.image,
                "has_list": row.has_list,
                "source": row.captions,
                "text": [translation.text for translation in found],
                "fault": [translation.fault for translation in found],
            }
            for row, found in zip(piece, translations, strict=True)
        ]
        with atomic_file(self.path(shard)) as unfinished:
            table = pa.Table.from_pylist(rows, schema)
            pq.write_table(table, unfinished, compression="zstd", write_page_checksum=True)

    def read(self) -> Iterator[tuple[CaptionedImage, list[Translation]]]:
        """Yield all rows with their translations, in the order of the source.

        Raises:
            BadRowError: with the cause "broken shard", at the first one that is damaged.
        """
        import pyarrow.parquet as pq

        for path in self.paths():
            with reading_shard(path, "; remove it and start again"):
                rows = pq.read_table(path, page_checksum_verification=True).to_pylist()
            for row in rows:
                captions = CaptionedImage(row["image"], tuple(row["source"]), row["has_list"])
                yield captions, list(map(Translation, row["text"], row["fault"]))


__all__ = ["Translation", "TranslationShards"]
