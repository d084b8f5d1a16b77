"""The LMDB files in which UNITER and UC2 keep region features: name of an image's .npz file -> its arrays."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..files.safe_npz import read_npz
from ..rows.report import BadRowError

NAMES_KEY = b"__keys__"


class UniterLmdb:
    """An open LMDB of region features; nothing in it is unpickled.

    Values are msgpack dictionaries of arrays, as msgpack-numpy writes them, or whole .npz files ("compressed").

    Args:
        folder: holds data.mdb.

    Raises:
        ImportError: lmdb or msgpack is not installed.
        ValueError: it is no LMDB.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import lmdb
            import msgpack  # noqa: F401
        except ImportError as error:
            raise ImportError("LMDB files need further packages: pip install 'wenlan[lmdb]'") from error
        try:
            self._environment = lmdb.open(str(folder), readonly=True, lock=False, create=False)
        except lmdb.Error as error:
            raise ValueError(f"{folder} cannot be opened as LMDB ({error}).") from error

    def __enter__(self) -> "UniterLmdb":
        return self

    def __exit__(self, *error: object) -> None:
        self._environment.close()

    def names(self) -> list[str]:
        """Return the names of all images' files, in the order of the database."""
        with self._environment.begin() as transaction:
            stored = transaction.get(NAMES_KEY)
            if stored is not None:
                return [str(name) for name in json.loads(stored)]
            keys = transaction.cursor().iternext(values=False)
            return [key.decode("utf-8", "backslashreplace") for key in keys if not key.startswith(b"__")]

    def read(self, name: str) -> dict[str, np.ndarray]:
        """Return the arrays of an image.

        Raises:
            BadRowError: there are none, or they cannot be read.
        """
        with self._environment.begin() as transaction:
            value = transaction.get(name.encode())
        if value is None:
            raise BadRowError("missing entry", f"the list of names has {name}, the database has not")
        if value.startswith(b"\x80") and len(value) > 1:
            raise BadRowError(
                "pickled", f"the value of {name} is a pickle, as some other programs write; it is not read"
            )
        try:
            return read_npz(value) if value.startswith(b"PK") else _read_msgpack(value)
        except Exception as error:  # damaged values raise nearly anything
            raise BadRowError("broken entry", f"{name}: {type(error).__name__}: {error}") from error


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
    if dtype.hasobject:
        raise ValueError("an array of objects")
    return np.frombuffer(fields["data"], dtype).reshape(fields["shape"])


__all__ = ["UniterLmdb"]
