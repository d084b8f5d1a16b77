"""Arrays of an .npz file from anywhere: flat ones as they are, pickled ones only on request and by a reader that calls
nothing but NumPy's own constructors."""

import io
import math
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from .safe_pickle import Admitted, UnsafePickleError, read_pickle

MAX_MEMBER_BYTES = 2**28  # an archive of kilobytes may claim any size


def _constructor(reduced: str | tuple[Any, ...]) -> Callable[..., object]:
    assert isinstance(reduced, tuple)  # as pickle has it: what is called, and with what
    return reduced[0]


# What the pickle of an array of plain values needs, under the module names of NumPy before and since 2.0.
_RECONSTRUCT, _SCALAR, _FROM_BUFFER = map(
    _constructor, (np.empty(0).__reduce__(), np.float32().__reduce__(), np.empty(1).__reduce_ex__(5))
)
ADMITTED: Admitted = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.multiarray", "scalar"): _SCALAR,
    ("numpy._core.multiarray", "scalar"): _SCALAR,
    ("numpy.core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("numpy._core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("_codecs", "encode"): lambda text, encoding: text.encode("latin1"),  # bytes in protocol 2
}


class PickledArrayError(ValueError):
    """An array is pickled, and that was not allowed or is not harmless."""


def read_npz(source: Path | bytes, *, allow_pickle: bool = False) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file by name.

    Args:
        source: the file, or what it holds.
        allow_pickle: read object arrays too, whose pickles may hold nothing but NumPy arrays and plain values.

    Raises:
        PickledArrayError: an array is pickled and `allow_pickle` is off, or its pickle asks for anything else.
        ValueError: it is no whole .npz file, or an array of it is larger than `MAX_MEMBER_BYTES`.
        OSError: the file cannot be read.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
            for member in archive.infolist():
                if member.file_size > MAX_MEMBER_BYTES:
                    raise ValueError(f"{member.filename} would have {member.file_size} bytes")
                name = member.filename.removesuffix(".npy")
                arrays[name] = _read_array(archive.read(member), name, allow_pickle)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"no whole .npz file ({type(error).__name__}: {error})") from error
    return arrays


def _read_array(data: bytes, name: str, allow_pickle: bool) -> np.ndarray:
    stream = io.BytesIO(data)
    read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(npy.read_magic(stream))
    if read_header is None:
        raise ValueError(f"{name} is in an unknown version of the .npy format")
    shape, _, dtype = read_header(stream)
    if not dtype.hasobject:
        if math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
            raise ValueError(f"{name} claims the shape {shape} and holds {len(data) - stream.tell()} bytes")
        stream.seek(0)
        return npy.read_array(stream, allow_pickle=False)
    if not allow_pickle:
        raise PickledArrayError(f"{name} is pickled; allow pickled arrays to read it without calling anything unsafe")
    try:
        array = read_pickle(stream, ADMITTED)
    except UnsafePickleError as error:
        raise PickledArrayError(f"{name}: {error}; it may be an attack and was not run") from error
    except (ValueError, MemoryError) as error:  # a shape of any size may be claimed
        raise ValueError(f"{name}: {error}") from error
    if not isinstance(array, np.ndarray) or array.shape != shape:
        raise ValueError(f"{name}: its pickle holds something else than its header says")
    return array


__all__ = ["MAX_MEMBER_BYTES", "PickledArrayError", "read_npz"]
