"""The manifest of a complete checkpoint: `manifest.json`, written last.

It holds the size and SHA-256 of every file, the step, and the number of the run in its folder, from 1: checkpoints are
ordered by run and step, never by the clock. Those of earlier versions hold the files alone and count as of run 0.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...data.files.atomic import naming, publish
from ...data.files.hashing import hash_file
from ...data.files.json_files import format_json, write_json
from .finite import non_finite_in_checkpoint

MANIFEST = "manifest.json"
# Without one of these the Trainer resumes, silently and with fresh state.
NEEDED = ("optimizer", "scheduler", "rng_state", "trainer_state")
# A file with such a name may be read in place of one that the manifest has.
STATE_SUFFIXES = (".bin", ".pt", ".pth", ".safetensors", ".index.json")


@dataclass(frozen=True)
class Manifest:
    """A manifest: number of the run, its step, and {"sha256", "size"} of the files by name."""

    run: int
    step: int
    files: Mapping[str, object]


def write_manifest(folder: Path, *, run: int, step: int) -> None:
    """Write the manifest of all files in a folder. When it returns, all of them are on the disk."""
    for path in folder.rglob("*"):
        publish(path, folder.stat().st_mode)
    content = {"run": run, "step": step, "files": {name: _measure(path) for name, path in _files(folder).items()}}
    write_json(folder / MANIFEST, content | {"sha256": _digest(content)})


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a checkpoint.

    Raises:
        ValueError: there is none, or it was changed.
        OSError: it cannot be read.
    """
    try:
        with naming(folder / MANIFEST):
            raw = (folder / MANIFEST).read_bytes()
    except FileNotFoundError as error:
        raise ValueError(f"it has no {MANIFEST}: saving did not finish, or it is not from this program") from error
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{MANIFEST} cannot be read ({error})") from error
    if not isinstance(content, dict) or format_json(content).encode() != raw:
        raise ValueError(f"{MANIFEST} was changed")
    if "files" not in content:  # of an earlier version
        step = folder.name.rpartition("-")[2]
        return Manifest(0, int(step) if step.isdecimal() else 0, content)
    if content.pop("sha256", None) != _digest(content):
        raise ValueError(f"{MANIFEST} was changed")
    return Manifest(**content)


def verify_checkpoint(folder: Path, *, world_size: int | None = None) -> str | None:
    """Return what is wrong with a checkpoint, None if every file is as it was saved and all numbers are finite.

    Args:
        folder: the checkpoint.
        world_size: of the run that wants to continue. Each process has a random state of its own, so it must be that
            of the run that saved; None: not checked.
    """
    try:
        return _find_fault(folder, read_manifest(folder).files, world_size) or non_finite_in_checkpoint(folder)
    except OSError as error:
        return f"{Path(error.filename or folder).name} cannot be read ({error.strerror or error})"
    except ValueError as error:
        return str(error)


def _find_fault(folder: Path, entries: Mapping[str, object], world_size: int | None) -> str | None:
    files = _files(folder)
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
    return None


def _files(folder: Path) -> dict[str, Path]:
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST
    }


def _measure(path: Path) -> dict[str, int | str]:
    with naming(path):
        return {"sha256": hash_file(path), "size": path.stat().st_size}


def _digest(content: object) -> str:
    return hashlib.sha256(format_json(content).encode()).hexdigest()


def _describe_difference(entry: object, path: Path) -> str:
    size = path.stat().st_size
    if isinstance(entry, dict) and entry.get("size") != size:
        return f"{size} bytes and not {entry.get('size')}"
    return "its SHA-256 differs"


__all__ = ["MANIFEST", "Manifest", "read_manifest", "verify_checkpoint", "write_manifest"]
