"""A folder of regions that is filled shard by shard; each is an exact set of inputs."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from ..files.atomic import remove_unfinished
from ..files.hashing import hash_bytes, hash_ends, hash_json
from ..files.json_files import write_json
from ..files.shard_store import ShardStore, split_into_shards
from ..rows.report import BadRowError, BadRowReport, TooManyBadRowsError
from .schema import RegionInfo, StoredRow
from .shards import FAILED, REPORT, SkippedInput, read_batches, read_header, write_shard

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RegionShard:
    """One shard of a folder, which any process can write.

    Attributes:
        path: where it goes.
        image_ids: of its inputs.
        files: of its inputs, or none.
        info: what all rows have in common.
    """

    path: Path
    image_ids: Sequence[str]
    files: Sequence[Path]
    info: RegionInfo

    @property
    def content(self) -> str:
        """Return a digest of the files, "" without any."""
        return hash_json([hash_ends(path) for path in self.files]) if self.files else ""

    def write(self, rows: Sequence[StoredRow], skipped: Sequence[SkippedInput]) -> None:
        """Write the shard, in which every one of its inputs is a row or skipped."""
        found, wanted = len(rows) + len(skipped), len(self.image_ids)
        assert found == wanted, f"{found} rows and skipped inputs for {wanted} inputs"
        digest = _hash_names(self.image_ids)
        write_shard(self.path, rows, self.info, digest=digest, content=self.content, skipped=skipped)


class RegionFolder(ShardStore[str]):
    """The shards of a run; a shard is known by the ids of its inputs.

    Args:
        folder: where the shards, `manifest.json` and in the end `report.json` go.
        image_ids: of all inputs, in the order that fixes which shard an input is in.
        info: what all rows have in common; its settings are those of the run.
        shard_size: inputs a shard.
        paths: of the inputs' files; a shard is made again where one was replaced (see `hash_ends`).

    Raises:
        ValueError: two inputs have the same id, or the folder was begun with other inputs or settings, or holds shards
            without a manifest.
    """

    name, suffix = "regions", ".parquet"

    def __init__(
        self,
        folder: Path,
        image_ids: Sequence[str],
        info: RegionInfo,
        *,
        shard_size: int,
        paths: Sequence[Path] = (),
    ) -> None:
        name, count = max(Counter(image_ids).items(), key=lambda item: item[1], default=("", 0))
        if count > 1:
            raise ValueError(f"{count} inputs have the id {name!r}, so that their rows could not be told apart.")
        self.image_ids, self.info, self.files = image_ids, info, paths
        self.inputs = split_into_shards(len(image_ids), shard_size)  # of each shard, their positions
        inputs = {"count": len(image_ids), "sha256": _hash_names(image_ids)}
        settings = {"inputs": inputs, "shard_size": shard_size, "info": asdict(info)}
        super().__init__(folder, [_hash_names(image_ids[part.start : part.stop]) for part in self.inputs], settings)

    def read_identity(self, path: Path) -> str:
        """Return the digest of the ids of a shard's inputs; every page of it is read and compared with its checksum."""
        for _ in read_batches(path):
            pass
        header = read_header(path)
        if header.info.to_json() != self.info.to_json():
            raise BadRowError("broken shard", f"{path} is described otherwise than the folder")
        return header.digest

    def _is_finished(self, shard: int) -> bool:
        if not super()._is_finished(shard):
            return False
        content = read_header(self.path(shard)).content
        if content in (None, self.shard(shard).content):
            return True
        logger.warning("%s is of images that were replaced since; it is made again.", self.path(shard))
        return False

    def shard(self, shard: int) -> RegionShard:
        """Return a shard, to be written by whoever has its rows."""
        part = self.inputs[shard]
        files = self.files[part.start : part.stop]
        return RegionShard(self.path(shard), self.image_ids[part.start : part.stop], files, self.info)

    def write(self, shard: int, rows: Sequence[StoredRow], skipped: Sequence[SkippedInput]) -> None:
        """Write a shard, in which every one of its inputs is a row or skipped."""
        self.shard(shard).write(rows, skipped)

    def finish(
        self, not_looked_at: Mapping[str, int] = MappingProxyType({}), *, max_bad_fraction: float
    ) -> BadRowReport:
        """Write `report.json`: rows and every input left out, over all runs; remove what killed runs left behind.

        Args:
            not_looked_at: what the folder of the inputs holds beside them, by kind.
            max_bad_fraction: of the inputs that may be left out; above it `read_regions` refuses the folder.

        Raises:
            TooManyBadRowsError: more was left out.
        """
        headers = [read_header(path) for path in self.paths()]
        skipped = [entry for header in headers for entry in header.skipped]
        report = BadRowReport(self.folder, sum(header.num_rows for header in headers))
        for entry in skipped:
            report.add_bad_row(BadRowError(entry.cause, entry.message), entry.image_id)
        report.not_looked_at.update(not_looked_at)
        fields = {"inputs": report.rows_read, "rows": report.rows_kept, "counts": report.counts}
        fields["not_looked_at"] = report.not_looked_at
        failure = None
        if not report.rows_kept or report.bad_fraction > max_bad_fraction:
            failure = fields[FAILED] = f"more than {max_bad_fraction:.0%} of the inputs (or all) were left out"
        write_json(self.folder / REPORT, fields | {"skipped": [asdict(entry) for entry in skipped]})
        remove_unfinished(self.folder)
        if failure is not None:
            raise TooManyBadRowsError(f"Failed: {failure}.\n{report}")
        return report


def _hash_names(names: Sequence[str]) -> str:
    return hash_bytes("\0".join(names).encode("utf-8", "surrogatepass"))


__all__ = ["RegionFolder", "RegionShard"]
