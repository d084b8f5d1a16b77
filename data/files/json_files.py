"""JSON files of known form: what is wrong with one is said with its name."""

import json
from collections.abc import Callable
from pathlib import Path

PACKED = (b"\x1f\x8b", b"PK\x03\x04")  # gzip, zip


def read_json(path: Path, *, object_hook: Callable[[dict], object] | None = None) -> object:
    """What a JSON file holds.

    Args:
        path: of the file.
        object_hook: what to hold in place of each object, as for `json.loads`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is packed, or no JSON.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There is no file {path}.") from error
    if content.startswith(PACKED):
        raise ValueError(f"{path} is packed; unpack it (gunzip, unzip) and give the file that comes out.")
    try:
        return json.loads(content, object_hook=object_hook)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON ({error}); fetch or write it again.") from error


def holds_list(path: Path) -> bool:
    """Return True if a file begins as a JSON list; only its beginning is read."""
    with path.open("rb") as file:
        head = file.read(200)
    return head.decode(json.detect_encoding(head), "ignore").lstrip("\ufeff \t\r\n").startswith("[")


def read_lists(path: Path, *names: str, object_hook: Callable[[dict], object] | None = None) -> dict:
    """Return a JSON object that holds at least these lists; `object_hook` as for `read_json`.

    Raises:
        FileNotFoundError, ValueError: as `read_json`, or one of the lists is not there.
    """
    content = read_json(path, object_hook=object_hook)
    check_lists(path, content, *names)
    return content


def check_lists(path: Path, content: object, *names: str) -> None:
    """Raise ValueError unless what a file holds is an object with these lists."""
    for name in names:
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            found = list(content)[:10] if isinstance(content, dict) else type(content).__name__
            raise ValueError(f"{path} has no list {name!r}, only {found}; is it another file?")


__all__ = ["check_lists", "holds_list", "read_json", "read_lists"]
