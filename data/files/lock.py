"""One process at a time writes into an output folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import SoftFileLock, Timeout

LOCK = ".lock"  # holds the process and the machine that write here


@contextmanager
def output_lock(folder: Path) -> Iterator[None]:
    """Hold an output folder for this process while the block runs.

    The folder is made if need be, and taken away again if nothing was written. The lock of a process of this machine
    that is gone is taken over.

    Raises:
        OSError: the folder cannot be written into.
        ValueError: another process holds it, which the message names, or it is no folder.
    """
    is_new = not folder.exists()
    if not (is_new or folder.is_dir()):
        raise ValueError(f"{folder} is no folder, and cannot be the output; give another.")
    lock = SoftFileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        process, host = [*(folder / LOCK).read_text().split(), "?", "?"][:2]
        raise ValueError(
            f"Process {process} on {host} is writing into {folder}. Wait until it ends, or give another output folder; "
            f"if it is no longer there, remove {folder / LOCK}."
        ) from None
    except OSError as error:
        raise OSError(f"{folder} cannot be written into: {error.strerror}. Give another output folder.") from error
    owner = os.getpid()
    try:
        yield
    finally:
        if os.getpid() == owner:  # not in a forked worker
            lock.release()
            if is_new:
                with suppress(OSError):  # it holds something
                    folder.rmdir()


__all__ = ["LOCK", "output_lock"]
