"""Files that nobody ever sees half-written: a hidden temporary name in the same folder, `fsync`, then a rename.

They get the mode that the user's umask gives, also where a library writes them for the owner alone. What a killed
process leaves behind begins with `.saving-`; the next one that writes into the folder on this machine removes it.
"""

import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from .bounded import check_regular

UNFINISHED = ".saving-"  # how temporary names begin
HOST = re.sub(r"\W", "_", socket.gethostname())[:40]


def sync(path: Path) -> None:
    """Return when a file, or the list of names in a folder, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(path: Path, mode: int) -> None:
    """Give a file the mode of one or of a folder that this process made, and return when it is on the disk."""
    if path.is_file() and path.stat().st_mode & 0o777 != mode & 0o666:
        path.chmod(mode & 0o666)
    sync(path)


def check_output_file(output: Path, *sources: Path) -> None:
    """Raise ValueError if a file would replace a folder, a device, a pipe, or one of the files that are read."""
    if output.exists():
        check_regular(output)
    for source in sources:
        if output.exists() and source.exists() and output.samefile(source):
            raise ValueError(f"{output} is what is read and would be replaced; give another output.")


def temporary_path(path: Path) -> Path:
    """Return the hidden name, of this process, under which a file or folder is written; its folder is made.

    What dead processes of this machine left in that folder is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path.parent.resolve())
    return path.with_name(f"{UNFINISHED}{os.getpid()}@{HOST}-{path.name}")


def format_bytes(count: float) -> str:
    """Return a number of bytes in the unit that suits it.

    >>> [format_bytes(count) for count in (0, 999, 12_345_678, 3e15)]
    ['0 bytes', '999 bytes', '12.3 MB', '3000.0 TB']
    """
    unit = min(max(len(str(int(count))) - 1, 0) // 3, 4)
    return f"{count / 1000**unit:.1f} {'kMGT'[unit - 1]}B" if unit else f"{int(count)} bytes"


def describe_free_space(folder: Path) -> str:
    """Return how much room is left where a folder is, in words."""
    return f"{format_bytes(shutil.disk_usage(folder).free)} are free on the disk of {folder}"


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an OSError that names no file, such as that of a full disk while writing, the name of this one."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; what the block writes there becomes `path` if the block ends well, else it is removed.

    The temporary name has the suffix of `path`, and its folder is made if need be.

    Raises:
        ValueError: `path` is no regular file, such as a pipe.
    """
    check_output_file(path)
    unfinished = temporary_path(path)
    try:
        with naming(path):
            unfinished.touch()
            mode = unfinished.stat().st_mode
            unfinished.unlink()
            yield unfinished
            publish(unfinished, mode)
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
    unfinished = temporary_path(folder / "files")
    unfinished.mkdir()
    try:
        with naming(folder):
            yield unfinished
        files = [path for path in sorted(unfinished.rglob("*")) if path.is_file()]
        for path in files:
            publish(path, unfinished.stat().st_mode)
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


@cache  # once a process is enough, and a folder may hold many files
def _remove_leftovers(folder: Path) -> None:
    for entry in os.scandir(folder):
        owner = re.match(rf"{re.escape(UNFINISHED)}(\d+)@(\w+)-", entry.name)
        if owner and owner[2] == HOST and not _is_alive(int(owner[1])):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry, ignore_errors=True)
            else:
                Path(entry).unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def remove_unfinished(folder: Path) -> None:
    """Remove the files that killed processes left in a folder."""
    for path in folder.glob(f"{UNFINISHED}*"):
        if path.is_file():
            path.unlink(missing_ok=True)


__all__ = [
    "UNFINISHED",
    "atomic_file",
    "atomic_files",
    "check_output_file",
    "describe_free_space",
    "format_bytes",
    "naming",
    "publish",
    "remove_unfinished",
    "sync",
    "temporary_path",
]
