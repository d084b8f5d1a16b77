"""Feature files that users have to the shards that `read_regions` opens."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from ..files.image_ids import name_as_text
from ..files.json_files import read_json
from ..files.lock import output_lock
from ..files.safe_npz import PickledArrayError, read_npz
from ..rows.report import BadRowError, BadRowReport, TooManyBadRowsError
from .feature_formats import Sizes, to_region_row
from .schema import LABELS, MAX_CLASSES, RegionInfo
from .shards import SkippedInput
from .uniter_lmdb import UniterLmdb
from .writer import RegionFolder

ReadArrays = Callable[[str], dict[str, np.ndarray]]


def import_regions(
    source: str | Path,
    output: str | Path,
    *,
    allow_pickle: bool = False,
    sizes: str | Path | None = None,
    model: str = "imported",
    top_k: int | None = None,
    shard_size: int = 1000,
    max_bad_fraction: float = 0.1,
) -> BadRowReport:
    """Write the features of a BUA or UNITER folder as shards of regions; a run that was killed resumes.

    Args:
        source: a folder of .npz files (searched recursively), or one that holds data.mdb, as UNITER and UC2 have it.
        output: the folder for the shards.
        allow_pickle: read the pickled `info` that BUA's own files hold, as far as it is plain values and arrays.
        sizes: a .json file with the images' sizes, {name: [height, width]} or COCO's {"images": [{"file_name",
            "height", "width"}]}; names are compared without suffix and case. With it the boxes of UNITER files become
            pixels, otherwise they stay fractions of the image (`box_unit` "normalized").
        model: what is recorded as the detector, such as "bua-r101"; folders can be read together if it is the same.
        top_k: classes of each distribution that are kept; None = all.
        shard_size: images a shard.
        max_bad_fraction: a greater fraction of files left out is an error after the last one, see `RegionFolder`.

    Returns:
        What was imported and what was left out, as in `report.json`.

    Raises:
        FileNotFoundError: no such source, or it holds no features.
        ImportError: an LMDB without the extra `lmdb`.
        ValueError: a file is pickled and `allow_pickle` is off, or `output` was begun otherwise.
        TooManyBadRowsError: no file, or too few, could be used.
    """
    source, output = Path(source), Path(output)
    sizes_by_name = read_sizes(Path(sizes)) if sizes is not None else None
    with _open_source(source, allow_pickle) as (names, read_arrays):

        def read_row(name: str) -> dict[str, Any]:
            return to_region_row(name_as_text(name.removesuffix(".npz")), read_arrays(name), sizes_by_name)

        info = _info_of_first(names, read_row, {"model_hash": model, "top_k": top_k}, source)
        ids = [name_as_text(name.removesuffix(".npz")) for name in names]
        paths = [source / name for name in names] if source.is_dir() else []
        with output_lock(output):
            folder = RegionFolder(output, ids, info, shard_size=shard_size, paths=paths)
            for shard in tqdm(folder.pending(), desc="import", unit=" shards", disable=None):
                rows, skipped = [], []
                for position in folder.inputs[shard]:
                    try:
                        rows.append(info.encode(read_row(names[position])))
                    except BadRowError as error:
                        path = str(source / names[position])
                        skipped.append(SkippedInput(folder.image_ids[position], path, error.cause, error.found))
                folder.write(shard, rows, skipped)
            return folder.finish(max_bad_fraction=max_bad_fraction)


@contextmanager
def _open_source(source: Path, allow_pickle: bool) -> Iterator[tuple[list[str], ReadArrays]]:
    """Yield the sorted names of all files, and what reads one."""
    source = source.parent if source.name == "data.mdb" else source
    if (source / "data.mdb").is_file():
        with UniterLmdb(source) as database:
            yield sorted(database.names()), database.read
        return
    names = sorted(path.relative_to(source).as_posix() for path in source.rglob("*.npz"))
    if not names:
        raise FileNotFoundError(f"{source} holds neither data.mdb nor .npz files; give the folder of the features.")

    def read(name: str) -> dict[str, np.ndarray]:
        try:
            return read_npz(source / name, allow_pickle=allow_pickle)
        except PickledArrayError as error:
            if not allow_pickle:
                raise ValueError(f"{source / name}: {error} (--allow-pickle).") from error
            raise BadRowError("unsafe pickle", str(error)) from error
        except (OSError, ValueError) as error:
            raise BadRowError("broken file", str(error)) from error

    yield names, read


def _info_of_first(
    names: Sequence[str], read_row: Callable[[str], dict[str, Any]], common: dict[str, Any], source: Path
) -> RegionInfo:
    """Return what the first file that can be used says of all."""
    report = BadRowReport(source)
    for name in names:
        try:
            row = read_row(name)
            info = RegionInfo(
                **common,
                feature_dim=_width("features", row),
                num_classes=_width("class_probs", row) if "class_probs" in row else 0,
                background_index=row.get("background_index", -1),
                box_unit="normalized" if row["image_height"] is None else "pixels",
                labels=tuple(label for label in LABELS if label in row),
                settings={"source": "import"},
            )
            info.encode(row)
            return info
        except BadRowError as error:
            report.add_bad_row(error, name)
    raise TooManyBadRowsError(f"No file could be used.\n{report}")


def _width(name: str, row: dict[str, Any]) -> int:
    shape = np.asarray(row[name]).shape
    if len(shape) != 2 or not 1 <= shape[1] <= MAX_CLASSES:
        raise BadRowError("wrong shape", f"{name} is {shape}, not (n, 1 to {MAX_CLASSES})")
    return shape[1]


def read_sizes(file: Path) -> Sizes:
    """Return height and width of images by the lower-case stem of their names, from .json (see `import_regions`).

    Raises:
        ValueError: it has another form.
    """
    try:
        content: Any = read_json(file)
        if isinstance(content.get("images"), list):
            content = {entry["file_name"]: (entry["height"], entry["width"]) for entry in content["images"]}
        return {Path(name).stem.lower(): (int(height), int(width)) for name, (height, width) in content.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{file} holds no sizes ({type(error).__name__}: {error}); write {{name: [height, width]}}, or COCO's form."
        ) from error


__all__ = ["import_regions", "read_sizes"]
