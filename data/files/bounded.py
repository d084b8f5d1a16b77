"""Files of strangers, read up to a limit: no pipe, device or file of many gigabytes stops or fills a process."""

import os
import stat
from pathlib import Path

MAX_TEXT_BYTES = 256 << 20


def read_bounded(path: str | os.PathLike[str], *, max_bytes: int) -> bytes:
    """Return what a regular file holds.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is a folder, a pipe, a device or a socket, or holds more than `max_bytes`; nothing was read.
        OSError: it cannot be read.
    """
    check_regular(path, max_bytes=max_bytes)
    with Path(path).open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"{path} grew above the limit of {max_bytes:,} bytes while it was read.")
    return data


def read_bounded_text(path: str | os.PathLike[str], *, errors: str = "strict", max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Return the text of a list or of settings that a user wrote, without a mark of UTF-8, with "\\n" for line ends.

    Args:
        errors: what becomes of bytes that are not UTF-8, as for `bytes.decode`.

    Raises:
        FileNotFoundError, ValueError, OSError: as `read_bounded`; it is no UTF-8.
    """
    try:
        text = read_bounded(path, max_bytes=max_bytes).decode("utf-8-sig", errors)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error}); save it as UTF-8.") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def check_regular(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> None:
    """Raise as `read_bounded` does, without reading; for files that a library opens by their name."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is no regular file but a {_KINDS.get(stat.S_IFMT(status.st_mode), 'special file')}.")
    if max_bytes is not None and status.st_size > max_bytes:
        raise ValueError(f"{path} has {status.st_size:,} bytes, above the limit of {max_bytes:,}.")


_KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "pipe",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFSOCK: "socket",
}

__all__ = ["MAX_TEXT_BYTES", "check_regular", "read_bounded", "read_bounded_text"]
