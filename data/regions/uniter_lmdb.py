"""The LMDB files in which UNITER and UC2 keep region features: name of an image's .npz file -> its arrays."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..files.safe_npz import read_npz
from ..files.safe_pickle import array_from_bytes
from ..rows.report import BadRowError
from .lmdb_file import LmdbError, LmdbFile

NAMES_KEY = b"__keys__"


class UniterLmdb:
    """An open LMDB of region features; nothing in it is unpickled.

    Values are msgpack dictionaries of arrays, as msgpack-numpy writes them, or whole .npz files ("compressed").

    Args:
        folder: holds data.mdb.

    Raises:
        ImportError: msgpack is not installed.
        ValueError: it is no whole LMDB.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import msgpack  # noqa: F401
        except ImportError as error:
            raise ImportError("LMDB files need a further package: pip install 'wenlan[lmdb]'") from error
        self._file = LmdbFile(folder / "data.mdb")

    def __enter__(self) -> "UniterLmdb":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def names(self) -> list[str]:
        """Return the names of all images' files, each once, in the order of the database.

        Bytes of a key that are not UTF-8 come out as lone surrogates.

        Raises:
            ValueError: a page, or the list of names, is damaged.
        """
        stored = self._file.get(NAMES_KEY)
        if stored is None:
            return [key.decode("utf-8", "surrogateescape") for key in self._file if not key.startswith(b"__")]
        try:
            names = json.loads(stored)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{self._file.path}: its list of names is no JSON ({str(error)[:100]}).") from error
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{self._file.path}: its list of names holds something else than names.")
        return list(dict.fromkeys(names))

    def read(self, name: str) -> dict[str, np.ndarray]:
        """Return the arrays of an image.

        Raises:
            BadRowError: there are none, or they cannot be read.
        """
        try:
            value = self._file.get(name.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:
            value = None
        except LmdbError as error:
            raise BadRowError("broken entry", f"{name[:80]!r}: {error}") from error
        if value is None:
            raise BadRowError("missing entry", f"the list of names has {name[:80]!r}, the database has not")
        if value.startswith(b"\x80") and len(value) > 1:
            raise BadRowError(
                "pickled", f"the value of {name[:80]!r} is a pickle, as some other programs write; it is not read"
            )
        try:
            return read_npz(value) if value.startswith(b"PK") else _read_msgpack(value)
        except Exception as error:  # damaged values raise nearly anything
            found = f"{type(error).__name__}: {str(error)[:100]}"
            raise BadRowError("broken entry", f"{name[:80]!r}: {found}") from error


def _read_msgpack(value: bytes) -> dict[str, np.ndarray]:
    import msgpack

    content = msgpack.unpackb(value, object_hook=_to_array)
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__} and no dictionary of arrays")
    return {name: array for name, array in content.items() if isinstance(array, np.ndarray)}


def _to_array(fields: dict[Any, Any]) -> Any:
    """Return the array that msgpack-numpy wrote; its own reader is not used, since it unpickles object arrays."""
    fields = {key.decode() if isinstance(key, bytes) else key: item for key, item in fields.items()}
    if fields.get("nd") is not True:
        return fields
    kind = fields["type"]
    dtype = np.dtype(kind.decode() if isinstance(kind, bytes) else kind)
    return array_from_bytes(fields["data"], dtype, tuple(fields["shape"]))


__all__ = ["UniterLmdb"]
