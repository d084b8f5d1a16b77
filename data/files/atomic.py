"""Files that nobody ever sees half-written: a hidden temporary name in the same folder, `fsync`, then a rename.

What a killed process leaves behind begins with `.saving-`.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNFINISHED = ".saving-"  # how temporary names begin


def sync(path: Path) -> None:
    """Return when a file, or the list of names in a folder, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; what the block writes there becomes `path` if the block ends well, else it is removed.

    The temporary name has the suffix of `path`, and its folder is made if need be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{UNFINISHED}{os.getpid()}-{path.name}")
    try:
        yield unfinished
        sync(unfinished)
        os.replace(unfinished, path)
        sync(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def atomic_files(folder: Path, *, last: str = "config.json") -> Iterator[Path]:
    """Yield a temporary folder; its files move into `folder` if the block ends well.

    Files of `folder` with other names stay.

    Args:
        folder: is made if need be.
        last: the file without which nobody opens the folder. It goes first and comes last, so that an interruption
            leaves a folder that does not open rather than one that mixes old and new.
    """
    is_new = not folder.exists()
    unfinished = folder / f"{UNFINISHED}{os.getpid()}"
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        files = [path for path in sorted(unfinished.rglob("*")) if path.is_file()]
        for path in files:
            sync(path)
        if unfinished / last in files:
            (folder / last).unlink(missing_ok=True)
        for path in sorted(files, key=lambda path: path == unfinished / last):
            target = folder / path.relative_to(unfinished)
            target.parent.mkdir(exist_ok=True, parents=True)
            os.replace(path, target)
        sync(folder)
    except BaseException:
        shutil.rmtree(folder if is_new else unfinished)
        raise
    shutil.rmtree(unfinished)


def remove_unfinished(folder: Path) -> None:
    """Remove the files that killed processes left in a folder."""
    for path in folder.glob(f"{UNFINISHED}*"):
        if path.is_file():
            path.unlink(missing_ok=True)


__all__ = ["UNFINISHED", "atomic_file", "atomic_files", "remove_unfinished", "sync"]
