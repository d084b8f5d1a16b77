"""A folder of shards that is filled piece by piece, each an exact set of inputs: a run goes on where it was killed.

Shard i of a folder holds inputs i * size to (i + 1) * size, in their order. The manifest says what the folder is made
of; a run that wants something else is refused.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..files.atomic import UNFINISHED
from ..files.hashing import hash_bytes
from ..files.json_files import write_json
from ..files.manifest import MANIFEST, agree_with_manifest
from ..rows.report import BadRowError, BadRowReport
from .schema import RegionInfo
from .shards import SkippedInput, read_header, write_shard

REPORT = "report.json"


class RegionFolder:
    """Where the shards of a run go, and which of them are still to be written.

    Args:
        folder: where the shards, `manifest.json` and in the end `report.json` go.
        image_ids: of all inputs, in the order that fixes which shard an input is in.
        info: what all rows have in common; its settings are those of the run.
        shard_size: inputs a shard.

    Raises:
        ValueError: two inputs have the same id, or the folder was begun with other inputs or settings, or holds shards
            without a manifest.
    """

    def __init__(self, folder: Path, image_ids: Sequence[str], info: RegionInfo, *, shard_size: int) -> None:
        if shard_size < 1:
            raise ValueError(f"shard_size is {shard_size}; a shard holds 1 input or more.")
        name, count = max(Counter(image_ids).items(), key=lambda item: item[1], default=("", 0))
        if count > 1:
            raise ValueError(f"{count} inputs have the id {name!r}, so that their rows could not be told apart.")
        self.folder, self.image_ids, self.info, self.shard_size = folder, image_ids, info, shard_size
        self.num_shards = -(-len(image_ids) // shard_size)
        self._agree_with_manifest()

    def _agree_with_manifest(self) -> None:
        wanted = {
            "inputs": {"count": len(self.image_ids), "sha256": _digest(self.image_ids)},
            "shard_size": self.shard_size,
            "info": json.loads(self.info.to_json()),
        }
        agree_with_manifest(self.folder, wanted, shards="regions-*.parquet")

    def path(self, shard: int) -> Path:
        """Where a shard is or will be."""
        return self.folder / f"regions-{shard:05d}-of-{self.num_shards:05d}.parquet"

    def inputs(self, shard: int) -> range:
        """Return the positions of a shard's inputs."""
        return range(shard * self.shard_size, min((shard + 1) * self.shard_size, len(self.image_ids)))

    def pending(self) -> list[int]:
        """Return the shards that are still to be written; one that is damaged counts as such."""
        return [shard for shard in range(self.num_shards) if not self._is_finished(shard)]

    def _is_finished(self, shard: int) -> bool:
        try:
            return read_header(self.path(shard)).digest == self._digest_of(shard)
        except BadRowError:
            return False

    def _digest_of(self, shard: int) -> str:
        return _digest([self.image_ids[position] for position in self.inputs(shard)])

    def write(self, shard: int, rows: Sequence[dict[str, Any]], skipped: Sequence[SkippedInput]) -> None:
        """Write a shard, in which every one of its inputs is a row or skipped."""
        found, wanted = len(rows) + len(skipped), len(self.inputs(shard))
        assert found == wanted, f"{found} rows and skipped inputs for {wanted} inputs"
        write_shard(self.path(shard), rows, self.info, digest=self._digest_of(shard), skipped=skipped)

    def report(self) -> BadRowReport:
        """Count the rows and the inputs left out of all finished shards, over all runs."""
        report = BadRowReport(source=self.folder)
        for shard in range(self.num_shards):
            if self._is_finished(shard):
                header = read_header(self.path(shard))
                report.keep_rows(header.num_rows)
                for entry in header.skipped:
                    report.add_bad_row(BadRowError(entry.cause, entry.message), entry.image_id)
        return report

    def finish(self) -> BadRowReport:
        """Write `report.json` with the counts and every input left out, and remove what killed runs left behind."""
        report = self.report()
        skipped = [asdict(entry) for shard in range(self.num_shards) for entry in read_header(self.path(shard)).skipped]
        fields = {"inputs": report.rows_read, "rows": report.rows_kept, "counts": report.counts, "skipped": skipped}
        write_json(self.folder / REPORT, fields)
        for left_over in self.folder.glob(f"{UNFINISHED}*-regions-*"):
            left_over.unlink(missing_ok=True)
        return report


def _digest(names: Iterable[str]) -> str:
    return hash_bytes("\0".join(names).encode("utf-8", "surrogatepass"))


__all__ = ["MANIFEST", "REPORT", "RegionFolder"]
