"""Remove rows of an index, compact it, and describe it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from ..data.files.atomic import format_bytes
from .filters import Filter
from .store.folder import IndexFolder
from .vector_index import open_vector_index, update_vector_index


def remove_rows(
    folder: Path, *, where: str | None = None, ids: Sequence[str] | None = None, missing: bool = False
) -> tuple[int, int]:
    """Remove the rows of an index that meet all of what is given; return how many, and how many are left.

    Args:
        folder: of the index.
        where: condition on the metadata, see `Filter`.
        ids: of the rows.
        missing: those whose image is no longer there.

    Raises:
        ValueError: no condition, one that cannot be read or names an unknown column, or ids that are not there; another
            process writes into the folder.
    """
    if where is None and not ids and not missing:
        raise ValueError("Say which rows to remove: --where, --id or --missing.")
    index = IndexFolder.open(folder)
    condition = None if where is None else Filter.parse(where)
    with index.writing():
        names = [name for name in index.schema.names if name != "embedding"]
        rows = index.read(names)
        if condition is not None:
            condition.check(rows.schema.remove(0))
            rows = rows.filter(condition.to_arrow())
        if ids:
            if unknown := sorted(set(ids) - set(rows["id"].to_pylist())):
                raise ValueError(f"{folder} has no row {unknown[0]!r}{' that meets --where' if where else ''}.")
            rows = rows.filter(pc.is_in(rows["id"], pc.pa.array(ids)))
        keys = rows["key"].to_numpy()
        if missing:
            if index.manifest.kind != "images":
                raise ValueError(f"{folder} holds sentences, which are never missing.")
            there = [(index.base / path).exists() for path in rows["path"].to_pylist()]
            keys = keys[~np.array(there, bool)]
        removed = index.remove(keys)
        update_vector_index(index)
    return removed, index.manifest.rows


def compact_index(folder: Path, *, max_rows: int = 50_000, skip_damaged: bool = False) -> tuple[int, int]:
    """Write the rows into shards of `max_rows`, without the removed ones; return the number of shards before and after.

    Raises:
        DamagedShardError: a shard is damaged; with `skip_damaged` its rows are given up.
        ValueError: another process writes into the folder.
        OSError: the disk is full; the old shards stay.
    """
    index = IndexFolder.open(folder, skip_damaged=skip_damaged)
    with index.writing():
        open_vector_index(index, save=True)  # while the tombstones are there
        before = len(index.manifest.shards)
        index.compact(max_rows=max_rows)
    return before, len(index.manifest.shards)


def describe_index(folder: Path, *, verify: bool = False) -> dict[str, object]:
    """Return what an index holds and what made it, as plain values.

    Args:
        folder: of the index.
        verify: read every shard in place of looking at its size alone.
    """
    index = IndexFolder.open(folder)
    manifest = index.manifest
    return {
        "rows": manifest.rows,
        "kind": manifest.kind,
        "dim": manifest.dim,
        "shards": len(manifest.shards),
        "removed rows in shards": manifest.removals - manifest.folded,
        "size of shards": format_bytes(sum(entry.size for entry in manifest.files)),
        "columns": {field.name: str(field.type) for field in index.schema if field.name not in ("key", "embedding")},
        "sources": list(manifest.sources),
        "paths start from": str(index.base),
        **asdict(manifest.embedded_by),
        "region_model": manifest.region_model,
        "backend": manifest.backend,
        "uri": manifest.uri,
        "versions": manifest.versions,
        "damaged": [str(index.path(entry)) for entry in index.find_damaged(whole=verify)],
    }


__all__ = ["compact_index", "describe_index", "remove_rows"]
