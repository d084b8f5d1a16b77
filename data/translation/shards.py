"""The raw translations of a corpus into one language, as Parquet shards: a run goes on where it was killed.

Shard i holds piece i of the source, unfiltered, so that other filters need no new translation. A row is an image:
`image`, `has_list`, and, caption by caption, `source`, `text` (null where there is none) and `fault` (what the model
that translated it says is wrong, mostly null).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..captions.text_corpus import CaptionedImage, digest
from ..files.atomic import UNFINISHED, atomic_file
from ..files.manifest import agree_with_manifest
from ..rows.report import BadRowError

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


class TranslationShards:
    """The shards of one language, and which of them are still to be written.

    Args:
        folder: where they and `manifest.json` go.
        digests: of the pieces of the source; a shard of another piece counts as not written.
        settings: how captions are translated; another run must have the same.

    Raises:
        ValueError: the folder was begun with other settings, or holds shards without a manifest.
    """

    def __init__(self, folder: Path, digests: Sequence[str], settings: dict) -> None:
        self.folder, self.digests = folder, digests
        agree_with_manifest(folder, settings, shards="translations-*.parquet")

    def path(self, shard: int) -> Path:
        """Where a shard is or will be."""
        return self.folder / f"translations-{shard:05d}-of-{len(self.digests):05d}.parquet"

    def pending(self) -> list[int]:
        """Return the shards that are still to be written; one that is damaged counts as such."""
        return [shard for shard in range(len(self.digests)) if not self._is_finished(shard)]

    def _is_finished(self, shard: int) -> bool:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            metadata = pq.read_metadata(self.path(shard)).metadata
            return json.loads(metadata[SHARD_KEY]) == self.digests[shard]
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
            return False

    def write(self, shard: int, piece: Sequence[CaptionedImage], translations: Sequence[Sequence[Translation]]) -> None:
        """Write a shard, which appears when it is complete: the translations of each row's captions, in their order.

        Raises:
            ValueError: the piece is not the one that the source had when the run began.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        if digest(piece) != self.digests[shard]:
            raise ValueError(f"The source was changed during the run, within rows of piece {shard}; start again.")
        texts = pa.list_(pa.string())
        schema = pa.schema(
            {"image": pa.string(), "has_list": pa.bool_(), "source": texts, "text": texts, "fault": texts},
            {SHARD_KEY: json.dumps(self.digests[shard])},
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
        import pyarrow as pa
        import pyarrow.parquet as pq

        for shard in range(len(self.digests)):
            try:
                rows = pq.read_table(self.path(shard), page_checksum_verification=True).to_pylist()
            except (pa.ArrowException, OSError) as error:
                raise BadRowError("broken shard", f"{self.path(shard)}: {error}; remove it and start again") from error
            for row in rows:
                captions = CaptionedImage(row["image"], tuple(row["source"]), row["has_list"])
                yield captions, list(map(Translation, row["text"], row["fault"]))

    def remove_left_overs(self) -> None:
        """Remove what killed runs left behind."""
        for left_over in self.folder.glob(f"{UNFINISHED}*"):
            left_over.unlink(missing_ok=True)


__all__ = ["Translation", "TranslationShards"]
