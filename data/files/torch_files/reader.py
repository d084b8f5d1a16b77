"""The two layouts of `torch.save`, a zip archive and before PyTorch 1.6 a row of pickles, and plain pickles.

The file is mapped, not read: weights come from the disk when they are used, and what lies beside them never does.
"""

import io
import struct
import zipfile
from collections.abc import Callable

import torch
from torch import Tensor

from .unpickler import Skipped, Storage, TensorUnpickler

ZIP, PICKLE = b"PK\x03\x04", b"\x80"
MAGIC_NUMBER = 0x1950A86A20F9469CFC6C  # the first pickle of the older layout


class PackedError(ValueError):
    """A file is an archive that has to be unpacked first; the message says what to do."""


class MappedFile(io.RawIOBase):
    """A part of a mapped file, as a file: it never asks for more memory than it has bytes."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.place = data, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self.place

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place and return it."""
        self.place = max(offset + (0, self.place, len(self.data))[whence], 0)
        return self.place

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, fewer at the end."""
        end = len(self.data) if size < 0 else min(self.place + size, len(self.data))
        chunk = bytes(self.data[self.place : end])
        self.place += len(chunk)
        return chunk


def read_torch_file(data: memoryview) -> object:
    """Return what a file of `torch.save` or a pickle holds: tensors, plain containers, and `Skipped` for the rest.

    Args:
        data: the writable bytes of the file, which begin with `ZIP` or `PICKLE`; tensors share them.

    Raises:
        UnsafePickleError: it refers to functions that run code; none was run.
        PackedError: it is another archive.
        ValueError, or nearly any other error: it is damaged or something else.
    """
    if data[:4] == ZIP:
        return _read_zip(data)
    stream = MappedFile(data)
    first = _unpickle(stream, _refuse_storage, _read_storage)
    return _read_row_of_pickles(stream) if first == MAGIC_NUMBER else first


def _unpickle(
    stream: MappedFile, storages: Callable[[Storage], object], load_bytes: Callable[[bytes], object]
) -> object:
    return TensorUnpickler(stream, storages, load_bytes).load()  # type: ignore[arg-type]  # a RawIOBase is one


def _refuse_storage(storage: Storage) -> object:
    raise ValueError(f"the storage {storage.key[:40]} is not in the file")


def _refuse_bytes(content: bytes) -> object:
    raise ValueError("a storage in a storage")


def _read_storage(content: bytes) -> object:
    """Return the numbers (n,) of a storage that was pickled by itself, as bytes that `torch.save` made."""
    stream = MappedFile(memoryview(bytearray(content)))
    _unpickle(stream, _refuse_storage, _refuse_bytes)  # the magic number
    return _read_row_of_pickles(stream)


def _numbers(data: memoryview, dtype: torch.dtype) -> Tensor:
    if not len(data):
        return torch.empty(0, dtype=dtype)
    numbers = torch.frombuffer(data, dtype=dtype)
    return numbers.clone() if numbers.data_ptr() % dtype.itemsize else numbers  # a place that processors dislike


def _read_zip(data: memoryview) -> object:
    with zipfile.ZipFile(MappedFile(data)) as archive:
        records = {member.filename: member for member in archive.infolist()}
    roots = [name.removesuffix("data.pkl") for name in records if name.endswith("/data.pkl") or name == "data.pkl"]
    if len(roots) != 1:
        names = ", ".join(name[:80] for name in list(records)[:3])
        raise PackedError(f"it is a zip archive, not one of torch.save, with {names}: unpack it")

    def content(name: str) -> memoryview:
        record = records[roots[0] + name]
        if record.compress_type != zipfile.ZIP_STORED or record.flag_bits & 1:
            raise PackedError("it is packed once more, unlike what torch.save writes: unpack it and save it again")
        name_length, extra_length = struct.unpack("<HH", data[record.header_offset + 26 : record.header_offset + 30])
        begin = record.header_offset + 30 + name_length + extra_length
        if begin + record.file_size > len(data):
            raise EOFError(f"the end of {name} is missing")
        return data[begin : begin + record.file_size]

    swapped = roots[0] + "byteorder" in records and bytes(content("byteorder")) == b"big"
    found: dict[Storage, Tensor] = {}

    def storage_of(storage: Storage) -> Tensor:
        if storage not in found:
            numbers = _numbers(content(f"data/{storage.key}"), storage.dtype)
            if swapped:
                numbers = numbers.clone()
                numbers.untyped_storage().byteswap(storage.dtype)
            found[storage] = numbers
        return found[storage]

    return _unpickle(MappedFile(content("data.pkl")), storage_of, _read_storage)


def _read_row_of_pickles(stream: MappedFile) -> object:
    """Return the object behind the magic number: version, system, object, keys of its storages, their numbers."""
    for _ in ("version", "system"):
        _unpickle(stream, _refuse_storage, _refuse_bytes)
    begin, dtypes = stream.tell(), {}

    def note(storage: Storage) -> Skipped:
        dtypes[storage.key] = storage.dtype
        return Skipped("storage")

    _unpickle(stream, note, _refuse_bytes)  # where the storages begin is known after the object
    keys = _unpickle(stream, _refuse_storage, _refuse_bytes)
    if not isinstance(keys, list):
        raise ValueError("no list of storages")
    found: dict[str, Tensor] = {}
    place = stream.tell()
    for key in keys:
        (count,) = struct.unpack("<q", stream.data[place : place + 8])
        end = place + 8 + count * dtypes[key].itemsize
        if not place + 8 <= end <= len(stream.data):
            raise EOFError("the end of its tensors is missing")
        found[key] = _numbers(stream.data[place + 8 : end], dtypes[key])
        place = end

    def storage_of(storage: Storage) -> Tensor:
        numbers = found[storage.key]
        return numbers if storage.view is None else numbers[storage.view[1] : storage.view[1] + storage.view[2]]

    stream.seek(begin)
    return _unpickle(stream, storage_of, _refuse_bytes)


__all__ = ["PICKLE", "ZIP", "MappedFile", "PackedError", "read_torch_file"]
