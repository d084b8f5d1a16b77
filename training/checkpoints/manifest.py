"""The manifest of a complete checkpoint: `manifest.json`, written last, holds the size and SHA-256 of every file."""

import json
from pathlib import Path

from ...data.files.atomic import sync
from ...data.files.hashing import hash_file
from ...data.files.json_files import format_json, write_json
from .finite import non_finite_in_checkpoint

MANIFEST = "manifest.json"
# Without one of these the Trainer resumes, silently and with fresh state.
NEEDED = ("optimizer", "scheduler", "rng_state", "trainer_state")
# A file with such a name may be read in place of one that the manifest has.
STATE_SUFFIXES = (".bin", ".pt", ".pth", ".safetensors", ".index.json")


def write_manifest(folder: Path) -> None:
    """Write the manifest of all files in a folder. When it returns, all of them are on the disk."""
    entries = {name: _measure(path) for name, path in _files(folder).items()}
    for path in folder.rglob("*"):
        sync(path)
    write_json(folder / MANIFEST, entries)


def verify_checkpoint(folder: Path, *, world_size: int | None = None) -> str | None:
    """Return what is wrong with a checkpoint, None if every file is as it was saved.

    Args:
        folder: the checkpoint.
        world_size: of the run that wants to continue. Each process has a random state of its own, so it must be that
            of the run that saved; None: not checked.
    """
    files = _files(folder)
    try:
        raw = (folder / MANIFEST).read_bytes()
        entries = json.loads(raw)
    except FileNotFoundError:
        return f"it has no {MANIFEST}: saving did not finish, or it is not from this program"
    except (OSError, ValueError) as error:
        return f"{MANIFEST} cannot be read ({error})"
    if not isinstance(entries, dict) or format_json(entries).encode() != raw:
        return f"{MANIFEST} was changed"
    for name, entry in entries.items():
        if name not in files:
            return f"{name} of {MANIFEST} is missing"
        if entry != _measure(files[name]):
            return f"{name} is not what {MANIFEST} says: {_describe_difference(entry, files[name])}"
    extra = [name for name in files.keys() - entries.keys() if name.endswith(STATE_SUFFIXES)]
    if extra:
        return f"{min(extra)} was added"
    missing = [part for part in NEEDED if not any(name.startswith(part) for name in entries)]
    if missing:
        return f"it holds no {missing[0]}: a run saved with save_only_model cannot be continued"
    saved_by = sum(name.startswith("rng_state") for name in entries)
    if world_size not in (None, saved_by):
        return f"it was saved by {saved_by} processes and this run has {world_size}: start as many"
    return non_finite_in_checkpoint(folder)


def _files(folder: Path) -> dict[str, Path]:
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST
    }


def _measure(path: Path) -> dict[str, int | str]:
    return {"sha256": hash_file(path), "size": path.stat().st_size}


def _describe_difference(entry: object, path: Path) -> str:
    size = path.stat().st_size
    if isinstance(entry, dict) and entry.get("size") != size:
        return f"{size} bytes and not {entry.get('size')}"
    return "its SHA-256 differs"


__all__ = ["MANIFEST", "verify_checkpoint", "write_manifest"]
