"""Shards of regions to a `datasets.Dataset`, mapped from memory or streamed."""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..files.atomic import atomic_file
from ..files.dataset_cache import dataset_cache
from ..files.hashing import hash_bytes
from ..files.json_files import read_json
from ..rows.report import BadRowError
from .schema import RegionInfo, RowDecoder
from .shards import FAILED, REPORT, SHARD_NAME, read_batches, read_header

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

logger = logging.getLogger(__name__)

COMMON = ("model_hash", "feature_dim", "num_classes", "background_index", "top_k", "box_unit", "labels")


class RegionShardError(ValueError):
    """A shard that is damaged, missing, or not of the same kind as the others."""


def read_regions(
    source: str | Path | Sequence[str | Path],
    *,
    streaming: bool = False,
    output: Literal["numpy", "torch"] = "numpy",
    on_bad_shard: Literal["raise", "skip"] = "raise",
    cache_dir: str | Path | None = None,
) -> "Dataset | IterableDataset":
    """Return the rows of a folder of regions, in the order of its inputs.

    A row has `image_id`, `image_height`, `image_width`, `boxes` (n, 4) float32, `features` (n, d) float16 and, where
    they were stored, `class_probs` (n, c) float32, `background_index`, `object_ids` (n) int64, `object_scores` (n)
    float32, `attribute_ids` and `attribute_scores`. Where only the best classes were stored, the rest of each
    distribution is spread evenly over the others.

    Args:
        source: a folder that `wenlan extract-regions` or `wenlan import-regions` wrote, a shard, or a list of these.
        streaming: an `IterableDataset` that reads the shards as they are; else a `Dataset` with random access, mapped
            from an uncompressed copy in the cache, which is made at the first call.
        output: what arrays are given as.
        on_bad_shard: a damaged or missing shard is an error, or is left out, counted and logged. Streamed, the rows
            before the damage are used.
        cache_dir: of the copy; by default within that of `datasets`.

    Raises:
        FileNotFoundError: there is no shard.
        RegionShardError: a shard is damaged or missing, or the run left out too much, and `on_bad_shard` is "raise";
            no shard is whole, or two shards are of different detectors, widths or kinds; the message names the files.
            Streamed, damage shows while iterating.
        ValueError: an argument is none of its values.
    """
    if output not in ("numpy", "torch") or on_bad_shard not in ("raise", "skip"):
        raise ValueError(f"output is {output!r}, on_bad_shard {on_bad_shard!r}; see the values they can have.")
    skip = on_bad_shard == "skip"
    sources = [source] if isinstance(source, str | os.PathLike) else source
    shards, info = _open_shards([path for item in sources for path in _find_shards(Path(item), skip)], skip)
    decoder = RowDecoder(info, torch=output == "torch")
    if streaming:
        from datasets import IterableDataset

        arguments = {"shards": [str(path) for path in shards], "decode": decoder, "skip": skip}
        dataset_cache()  # it is looked for, though nothing is kept there
        return IterableDataset.from_generator(_stream_rows, gen_kwargs=arguments)
    return _map_shards(shards, skip, Path(cache_dir) if cache_dir else None).with_transform(decoder)


def read_region_info(source: str | Path) -> RegionInfo:
    """Return the description that the rows of a folder or a shard share: detector, widths, unit of the boxes, settings.

    Raises: as `read_regions`.
    """
    return _open_shards(_find_shards(Path(source), False), False)[1]


def _find_shards(source: Path, skip: bool) -> list[Path]:
    if source.is_file():
        return [source]
    names = sorted(path.name for path in source.glob("regions-*.parquet"))
    found = [match for match in map(SHARD_NAME.fullmatch, names) if match]
    if not found:
        raise FileNotFoundError(
            f"{source} holds no regions-*.parquet; give a folder that wenlan extract-regions wrote."
        )
    total = found[0][2]
    missing = sorted({f"regions-{index:05d}-of-{total}.parquet" for index in range(int(total))} - set(names))
    if missing:
        message = f"{source} lacks {len(missing)} of {int(total)} shards, first {missing[0]}"
        if not skip:
            raise RegionShardError(f"{message}; finish it with the command that began it.")
        logger.warning("%s; their rows are left out.", message)
    report = read_json(source / REPORT) if (source / REPORT).exists() else None
    if isinstance(report, dict) and FAILED in report:
        message = f"{source} is of a run that failed: {report[FAILED]}"
        if not skip:
            raise RegionShardError(f"{message}. Mend them, or give that command a greater --max-bad-fraction.")
        logger.warning("%s.", message)
    return [source / match[0] for match in found]


def _open_shards(paths: list[Path], skip: bool) -> tuple[list[Path], RegionInfo]:
    """Return the shards whose headers can be read, and what they have in common."""
    headers = {}
    for path in paths:
        try:
            headers[path] = read_header(path)
        except BadRowError as error:
            _leave_out(error, skip)
    if not headers:
        raise RegionShardError(f"None of the {len(paths)} shards of {paths[0].parent} is whole.")
    first, *others = headers
    info = headers[first].info
    for path in others:
        for name in COMMON:
            ours, other = getattr(info, name), getattr(headers[path].info, name)
            if ours != other:
                raise RegionShardError(f"{name} is {ours!r} in {first} and {other!r} in {path}; read them apart.")
    return [path for path, header in headers.items() if header.num_rows] or [first], info


def _leave_out(error: BadRowError, skip: bool) -> None:
    if not skip:
        raise RegionShardError(f"{error}. Write it again, or leave it out with on_bad_shard='skip'.") from error
    logger.warning("Left out, %s", error)


def _stream_rows(shards: list[str], decode: RowDecoder, skip: bool) -> Iterator[dict[str, Any]]:
    for shard in shards:
        try:
            for batch in read_batches(Path(shard)):
                columns = decode(batch.to_pydict())
                for values in zip(*columns.values(), strict=True):
                    yield dict(zip(columns, values, strict=True))
        except BadRowError as error:
            _leave_out(error, skip)


def _map_shards(shards: list[Path], skip: bool, cache_dir: Path | None) -> "Dataset":
    from datasets import Dataset, concatenate_datasets

    cache_dir = cache_dir or dataset_cache() / "wenlan_regions"
    copies = []
    for shard in shards:
        try:
            copies.append(Dataset.from_file(str(_uncompressed_copy(shard, cache_dir))))
        except BadRowError as error:
            _leave_out(error, skip)
    if not copies:
        raise RegionShardError(f"None of the {len(shards)} shards of {shards[0].parent} is whole.")
    return concatenate_datasets(copies)


def _uncompressed_copy(shard: Path, cache_dir: Path) -> Path:
    """Return the shard as an Arrow file, from the cache if it was made since the shard was written."""
    import pyarrow as pa

    state = shard.stat()
    identity = f"{shard.resolve()} {state.st_size} {state.st_mtime_ns}"
    copy = cache_dir / f"{hash_bytes(identity.encode())}.arrow"
    if not copy.exists():
        schema = read_header(shard).info.schema()
        with atomic_file(copy) as unfinished, pa.ipc.new_stream(str(unfinished), schema) as writer:
            for batch in read_batches(shard):
                try:
                    writer.write_batch(batch.replace_schema_metadata(None))
                except pa.ArrowInvalid as error:
                    raise BadRowError("broken shard", f"{shard}: its columns are not those of regions") from error
    return copy


__all__ = ["RegionShardError", "read_region_info", "read_regions"]
