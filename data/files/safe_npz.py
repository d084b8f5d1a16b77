"""Arrays of an .npz file from anywhere: flat ones as they are, pickled ones only on request and as `safe_pickle` reads
them."""

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from .bounded import check_regular
from .safe_pickle import UnsafePickleError, array_from_bytes, read_array_pickle

MAX_BYTES = 2**28  # of a file, and of all its arrays: an archive of kilobytes may claim any size
MAX_ARRAYS = 1000
WRITTEN_BY_NUMPY = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class PickledArrayError(ValueError):
    """An array is pickled, and that was not allowed or is not harmless."""


def read_npz(source: Path | bytes, *, allow_pickle: bool = False) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file by name.

    Args:
        source: the file, or what it holds.
        allow_pickle: read object arrays too, whose pickles may hold nothing but NumPy arrays and plain values.

    Raises:
        PickledArrayError: an array is pickled and `allow_pickle` is off, or its pickle asks for anything else.
        ValueError: it is no whole .npz file, or its arrays are larger than `MAX_BYTES`.
        OSError: the file cannot be read.
    """
    if isinstance(source, Path):
        check_regular(source, max_bytes=MAX_BYTES)
    try:
        with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if total > MAX_BYTES or len(members) > MAX_ARRAYS:
                raise ValueError(
                    f"its {len(members)} arrays would have {total:,} bytes; {MAX_ARRAYS} of {MAX_BYTES:,} are read"
                )
            if odd := [member.filename for member in members if member.compress_type not in WRITTEN_BY_NUMPY]:
                raise ValueError(f"{odd[0]} is compressed in a way that NumPy does not write")
            names = [member.filename.removesuffix(".npy") for member in members]
            return {
                name: read_npy(archive.read(member), name, allow_pickle=allow_pickle)
                for name, member in zip(names, members, strict=True)
            }
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"no whole .npz file ({type(error).__name__}: {error})") from error


def read_npy(data: bytes, name: str, *, allow_pickle: bool = False) -> np.ndarray:
    """Return the array in the bytes of an .npy file; `name` is for messages. Raises as `read_npz`."""
    stream = io.BytesIO(data)
    read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(npy.read_magic(stream))
    if read_header is None:
        raise ValueError(f"{name} is in an unknown version of the .npy format")
    shape, is_fortran, dtype = read_header(stream)
    content = data[stream.tell() :]
    if dtype.kind == "O" and not allow_pickle:
        raise PickledArrayError(f"{name} is pickled; allow pickled arrays to read it, without running anything of it")
    try:
        if dtype.kind != "O":
            return array_from_bytes(content, dtype, shape, order="F" if is_fortran else "C")
        array = read_array_pickle(content)
    except UnsafePickleError as error:
        raise PickledArrayError(f"{name}: {error}; it may be an attack and was not run") from error
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    if not isinstance(array, np.ndarray) or array.shape != shape:
        raise ValueError(f"{name}: its pickle holds something else than its header says")
    return array


__all__ = ["MAX_BYTES", "PickledArrayError", "read_npy", "read_npz"]
