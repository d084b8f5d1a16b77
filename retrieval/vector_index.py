"""The vector index of a folder: loaded, brought up to date with the shards, and saved beside them."""

import logging
from collections.abc import Mapping
from pathlib import Path

from ..data.files.hashing import fingerprint
from ..data.files.json_files import read_json
from .indexes.base import VectorIndex
from .indexes.faiss import MANIFEST as FAISS_MANIFEST
from .store.folder import IndexFolder

logger = logging.getLogger(__name__)

BACKENDS = ("faiss", "milvus")
MAX_BEHIND = 0.01  # of the rows: so many may be new or removed since the index was saved


def update_vector_index(folder: IndexFolder) -> None:
    """Bring the saved vector index of a folder up to date, unless it lacks so little that whoever opens it may add it.

    To load and write a large index takes longer than to embed a few images.

    Args:
        folder: held by this process.

    Raises:
        DamagedShardError, ImportError, OSError: as `open_vector_index`.
    """
    manifest, wanted = folder.manifest, _state_of(folder)
    saved = _saved_state(folder)
    if saved is not None and _leads_to(saved, wanted, manifest.folded):
        changes = sum(wanted[name] - saved[name] for name in ("next_key", "removals"))
        if changes <= manifest.rows * MAX_BEHIND:
            return
    open_vector_index(folder, save=True)


def open_vector_index(folder: IndexFolder, *, save: bool) -> VectorIndex:
    """Return the vector index of a folder with exactly its rows.

    What was saved is loaded, and what was added or removed since then is done again; without it, or after a compaction
    that it missed, it is made anew from the shards. What Milvus holds is returned as it is unless it may be saved.

    Args:
        folder: the rows.
        save: write it, if it was not up to date; only the writer of the folder may.

    Raises:
        DamagedShardError: a shard that has to be read cannot.
        ImportError: the package of the backend is not installed.
        OSError: its server cannot be reached, or the disk is full.
        ValueError: nothing is in Milvus, and it may not be saved.
    """
    manifest, wanted = folder.manifest, _state_of(folder)
    index = _load(folder, folder.folder / manifest.backend)
    if manifest.backend == "milvus" and not save:  # it is everybody's: only the writer may bring it up to date
        if index is None:
            raise ValueError(f"{folder.folder} is not in Milvus yet: run the command that builds it again.")
        return index
    if index is not None and not _leads_to(index.state, wanted, manifest.folded):
        logger.warning("The vector index of %s is of another state than its shards; it is made again.", folder.folder)
        index = None
    if index is None:
        index = _new(folder)
    if index.state == wanted:
        return index
    index.remove(folder.removed_keys())
    for rows in folder.read_shards(first_key=index.state.get("next_key", 0)):
        if rows.num_rows:
            index.add(rows)
    index.state = wanted
    if save and not folder.damaged:
        index.save(folder.folder / manifest.backend)
    return index


def check_backend(name: str, uri: str | None) -> None:
    """Raise ValueError for a backend that there is not, or one without the address that it needs."""
    if name not in BACKENDS:
        raise ValueError(f"There is no backend {name!r}; give one of {', '.join(BACKENDS)}.")
    if (uri is None) == (name == "milvus"):
        raise ValueError("Milvus needs an address: --uri http://HOST:19530, or a file ending in .db; faiss takes none.")


def _load(folder: IndexFolder, place: Path) -> VectorIndex | None:
    """Return what was saved, None if it is not there or damaged."""
    try:
        if folder.manifest.backend == "milvus":
            from .indexes.milvus import MilvusIndex

            return MilvusIndex.load(place)
        from .indexes.faiss import FaissIndex

        return FaissIndex.load(place)
    except FileNotFoundError:
        return None
    except ValueError as error:
        logger.warning("%s", error)
        return None


def _new(folder: IndexFolder) -> VectorIndex:
    manifest = folder.manifest
    if manifest.backend == "milvus":
        from .indexes.milvus import MilvusIndex

        name = f"wenlan_{manifest.uid:x}"
        return MilvusIndex(manifest.dim, uri=str(manifest.uri), collection=name, owner=name)
    from .indexes.faiss import FaissIndex

    return FaissIndex(manifest.dim)


def _state_of(folder: IndexFolder) -> dict[str, int]:
    """Return what the vector index of a folder is up to date with."""
    manifest = folder.manifest
    return {
        "uid": manifest.uid,
        "columns": fingerprint(folder.schema.to_string().encode()) >> 1,  # a signed 64-bit number
        "next_key": manifest.next_key,
        "removals": manifest.removals,
    }


def _saved_state(folder: IndexFolder) -> dict[str, int] | None:
    """Return the state of the index that faiss saved, without opening it; None if it cannot be told."""
    try:
        found = read_json(folder.folder / "faiss" / FAISS_MANIFEST)
    except (OSError, ValueError):
        return None
    state = found.get("state") if isinstance(found, dict) else None
    return state if isinstance(state, dict) and folder.manifest.backend == "faiss" else None


def _leads_to(state: Mapping[str, int], wanted: Mapping[str, int], folded: int) -> bool:
    """Return whether later rows and tombstones are all that a saved index lacks."""
    return (
        state.keys() == wanted.keys()
        and all(state[name] == wanted[name] for name in ("uid", "columns"))
        and state["next_key"] <= wanted["next_key"]
        and folded <= state["removals"] <= wanted["removals"]
    )


__all__ = ["BACKENDS", "check_backend", "open_vector_index", "update_vector_index"]
