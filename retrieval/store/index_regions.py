"""Regions of the images of an index, for the second stage: shards as `extract_regions` writes them, a folder a run.

Beside each folder lies the list it was made of, with the key of each row, by which an image that was replaced is known.
"""

import json
from pathlib import Path

from ...data.files.atomic import atomic_file
from ...pipelines.region_extraction import extract_regions
from ..rerank import REGIONS
from .folder import IndexFolder


def extract_index_regions(folder: IndexFolder, detector: str, *, shard_size: int = 256) -> None:
    """Extract the regions of all images of an index that have none yet; a run that was stopped is resumed.

    Args:
        folder: held by this process.
        detector: folder or hub id.
        shard_size: images a shard.

    Raises:
        FileNotFoundError, ValueError: no such detector.
        TooManyBadRowsError: it fails on all images of a shard.
    """
    for name in _unfinished(folder):
        _extract(folder, name, detector, shard_size)
    name = f"{len(folder.manifest.regions):04d}"
    if _write_list(folder, _list_file(folder.folder, name)):
        _extract(folder, name, detector, shard_size)


def _extract(folder: IndexFolder, name: str, detector: str, shard_size: int) -> None:
    file = _list_file(folder.folder, name)
    extract_regions(file, file.with_suffix(""), model=detector, shard_size=shard_size, max_bad_fraction=1.0)
    folder.record(regions=(*folder.manifest.regions, name))


def _unfinished(folder: IndexFolder) -> list[str]:
    lists = sorted((folder.folder / REGIONS).glob("*.jsonl"))
    return [file.stem for file in lists if file.stem not in folder.manifest.regions]


def _write_list(folder: IndexFolder, file: Path) -> bool:
    """Write the images that have no regions yet; return whether there are any."""
    covered = dict[str, int]()
    for name in folder.manifest.regions:
        for line in _list_file(folder.folder, name).read_text("utf-8").splitlines():
            entry = json.loads(line)
            covered[entry["id"]] = entry["key"]
    rows = folder.read(["key", "id", "path"]).to_pylist()
    entries = [
        {"id": row["id"], "image": str(folder.base / row["path"]), "key": row["key"]}
        for row in rows
        if covered.get(row["id"]) != row["key"]
    ]
    if entries:
        with atomic_file(file) as unfinished:
            unfinished.write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries), "utf-8")
    return bool(entries)


def _list_file(folder: Path, name: str) -> Path:
    return folder / REGIONS / f"{name}.jsonl"


__all__ = ["extract_index_regions"]
