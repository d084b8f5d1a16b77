"""Regions of the images of an index, for the second stage: shards as `extract_regions` writes them, a folder a run.

Beside each folder lies the list it was made of, with the key of each row, by which an image that was replaced is known.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from ...data.files.atomic import atomic_file
from ...data.files.model_folder import PROCESSOR, detect_model_type, open_pretrained
from ...modeling_mlmm.configuration_mlmm import MLMMConfig
from ...pipelines.region_extraction import RegionChoice, extract_regions
from ...processing.processing_mlmm import OWN_FOLDER, MLMMProcessor
from ..rerank import REGIONS
from .folder import IndexFolder


@dataclass(frozen=True)
class RegionSource:
    """A region detector, and how to choose among its boxes.

    Attributes:
        name: as it was given.
        detector: folder or hub id.
        choice: which boxes become regions.
    """

    name: str
    detector: str
    choice: RegionChoice

    @classmethod
    def open(cls, name: str) -> "RegionSource":
        """Return a detector of this name, or the one that an MLMM of this name was trained with.

        Raises:
            FileNotFoundError: there is no such model.
            ValueError: the MLMM names no detector.
        """
        if detect_model_type(name) != MLMMConfig.model_type:
            return cls(name, name, RegionChoice())
        processor: MLMMProcessor = open_pretrained(MLMMProcessor, name, file=PROCESSOR)
        if processor.detector is None:
            raise ValueError(f"{name} names no region detector; give the folder of the one that it was trained with.")
        is_own = processor.detector.startswith(OWN_FOLDER)
        detector = str(Path(name) / processor.detector) if is_own else processor.detector
        return cls(name, detector, RegionChoice(processor.min_boxes, processor.max_boxes, processor.conf_threshold))


def extract_index_regions(
    folder: IndexFolder, source: RegionSource, *, num_proc: int | None = 1, ray: str | None = None
) -> None:
    """Extract the regions of all images of an index that have none yet; a run that was stopped is resumed.

    Args:
        folder: held by this process.
        source: of the regions.
        num_proc, ray: as for `extract_regions`.

    Raises:
        FileNotFoundError, ValueError: no such detector.
        TooManyBadRowsError: it fails on all images of a shard.
    """

    def extract(name: str) -> None:
        file = _list_file(folder.folder, name)
        model, choice = source.detector, source.choice
        output = file.with_suffix("")
        extract_regions(file, output, model=model, choice=choice, max_bad_fraction=1.0, num_proc=num_proc, ray=ray)
        folder.record(regions=(*folder.manifest.regions, name))

    for name in _unfinished(folder):
        extract(name)
    name = f"{len(folder.manifest.regions):04d}"
    if _write_list(folder, _list_file(folder.folder, name)):
        extract(name)


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


__all__ = ["RegionSource", "extract_index_regions"]
