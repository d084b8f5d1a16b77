"""JSON files: written whole or not at all, read with errors that name the file."""

import json
from collections.abc import Callable
from pathlib import Path

from .atomic import atomic_file
from .bounded import check_regular, read_bounded

MAX_BYTES = 4 << 30  # the annotations of Visual Genome have less than 1 GB
PACKED = (b"\x1f\x8b", b"PK\x03\x04")  # gzip, zip


def format_json(value: object, *, indent: int | None = 1) -> str:
    """Return the text of a JSON file: other scripts as they are, a newline at the end."""
    return json.dumps(value, ensure_ascii=False, indent=indent) + "\n"


def write_json(path: Path, value: object, *, indent: int | None = 1) -> None:
    """Write a JSON file, whole or not at all; its folder is made if need be."""
    with atomic_file(path) as unfinished:
        # A file name may hold bytes that are no UTF-8: \udcXX, which `json.loads` gives back as it was.
        unfinished.write_text(format_json(value, indent=indent), "utf-8", "backslashreplace")


def read_json(path: Path, *, object_hook: Callable[[dict], object] | None = None) -> object:
    """Return what a JSON file holds.

    Args:
        object_hook: what to hold in place of each object, as for `json.loads`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is packed, no JSON, no regular file, or too large.
    """
    try:
        content = read_bounded(path, max_bytes=MAX_BYTES)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There is no file {path}.") from error
    if content.startswith(PACKED):
        raise ValueError(f"{path} is packed; unpack it (gunzip, unzip) and give the file that comes out.")
    try:
        return json.loads(content, object_hook=object_hook)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8; save it so, for instance: iconv -f gb18030 -t utf-8") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON ({str(error)[:200]}); fetch or write it again.") from error


def holds_list(path: Path) -> bool:
    """Return True if a file begins as a JSON list; only its beginning is read."""
    check_regular(path)
    with path.open("rb") as file:
        head = file.read(200)
    return head.decode(json.detect_encoding(head), "ignore").lstrip("\ufeff \t\r\n").startswith("[")


def read_lists(path: Path, *names: str, object_hook: Callable[[dict], object] | None = None) -> dict:
    """Return a JSON object that holds at least these lists; `object_hook` as for `read_json`.

    Raises:
        FileNotFoundError, ValueError: as `read_json`, or one of the lists is not there.
    """
    return check_lists(path, read_json(path, object_hook=object_hook), *names)


def check_lists(path: Path, content: object, *names: str) -> dict:
    """Return what a file holds; raise ValueError unless it is an object with these lists."""
    fields = content if isinstance(content, dict) else {}
    for name in names:
        if not isinstance(fields.get(name), list):
            found = list(fields)[:10] if fields else type(content).__name__
            raise ValueError(f"{path} has no list {name!r}, only {found}; is it another file?")
    return fields


__all__ = ["check_lists", "format_json", "holds_list", "read_json", "read_lists", "write_json"]
