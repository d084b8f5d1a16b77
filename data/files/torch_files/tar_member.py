"""The checkpoint in a tar archive, as a part of its file: nothing is extracted, and no name in it becomes a path."""

import lzma
import re
import tarfile
import zlib
from pathlib import PurePosixPath

from .reader import PICKLE, ZIP, MappedFile, PackedError

MAX_MEMBERS = 10_000
MAX_UNPACKED = 64 << 20  # how far a compressed tar is looked into, for the names of its files
SAFETENSORS = re.compile(rb".{8}\{", re.DOTALL)  # the length of the header, and the header
COMPRESSED = re.compile(rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd")
BEFORE_0_2 = {"storages", "tensors", "pickle"}  # what PyTorch itself wrote as a tar until 2017


def find_in_tar(data: memoryview) -> memoryview | None:
    """Return the bytes of the only checkpoint in a tar archive; None for what is no such archive.

    Only regular files count, and of these not the ones that macOS adds. A file in parts (sparse) does not.

    Raises:
        PackedError: it is compressed, or holds no checkpoint or several; the message says what to unpack.
        EOFError: it ends too early.
    """
    if COMPRESSED.match(data[:8]):
        first = _list_names(_regular(_members(data, "r:*", limit=MAX_UNPACKED)))
        how = f"(tar -xf) and give the checkpoint in it: {first}" if first else "(gunzip, bunzip2, unxz) first"
        raise PackedError(f"it is compressed: unpack it {how}")
    members = _members(data, "r:", limit=len(data))
    if not members:
        return None
    if len(members) > MAX_MEMBERS:
        raise PackedError(f"it is a tar of more than {MAX_MEMBERS:,} files: unpack it and give the checkpoint in it")
    if {PurePosixPath(member.name).name for member in members} >= BEFORE_0_2:
        raise PackedError("it is a file of PyTorch before 0.2: open it with such a version and save it again")
    files = _regular(members)
    if any(member.offset_data + member.size > len(data) for member in files):
        raise EOFError("the tar ends too early")
    found = [member for member in files if _is_checkpoint(data[member.offset_data :][: member.size])]
    if len(found) == 1:
        return data[found[0].offset_data :][: found[0].size]
    names = _list_names(found or files)
    many = f"{len(found)} files that may be the checkpoint" if found else "no checkpoint"
    raise PackedError(f"it is a tar with {many}: unpack {'one of ' if found else 'it; it has '}{names or 'no file'}")


def _members(data: memoryview, mode: str, *, limit: int) -> list[tarfile.TarInfo]:
    """Return what a tar holds in its first `limit` unpacked bytes, as far as it can be read."""
    members = []
    try:
        with tarfile.open(fileobj=MappedFile(data), mode=mode) as archive:  # type: ignore[call-overload]  # as in reader.py
            for member in archive:
                members.append(member)
                if len(members) > MAX_MEMBERS or archive.offset > limit:
                    break
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError):
        pass  # no tar, or one that ends too early
    return members


def _regular(members: list[tarfile.TarInfo]) -> list[tarfile.TarInfo]:
    """Return the files whose bytes lie in one piece, without those that macOS adds."""
    return [
        member
        for member in members
        if member.isreg() and not member.issparse()
        if "__MACOSX" not in member.name and not PurePosixPath(member.name).name.startswith("._")
    ]


def _list_names(members: list[tarfile.TarInfo]) -> str:
    return ", ".join(ascii(member.name)[1:-1][:80] for member in members[:3])


def _is_checkpoint(content: memoryview) -> bool:
    return content[:4] == ZIP or content[:1] == PICKLE or is_safetensors(content)


def is_safetensors(content: memoryview) -> bool:
    """Return True for what begins as a safetensors file."""
    return SAFETENSORS.match(content[:9]) is not None and int.from_bytes(content[:8], "little") <= len(content)


__all__ = ["find_in_tar", "is_safetensors"]
