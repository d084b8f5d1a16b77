"""Text files of users as lines: UTF-8, UTF-16, another encoding that is given, or gzip of these.

Bytes that are not of the encoding come out as lone surrogates, for the caller to find.
"""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from ..files.bounded import check_regular

HEAD = 1 << 16  # bytes of a file that are looked at
MAX_LINE = 1 << 24  # characters
GZIP = b"\x1f\x8b"
MARKS = {  # UTF-32 first: its mark begins with that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
BINARY = {
    b"PK\x03\x04": "a zip archive or an Excel file",
    b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"PAR1": "a parquet file",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"GIF8": "an image",
    b"%PDF": "a PDF file",
    b"BZh": "packed with bzip2",
    b"\xfd7zXZ": "packed with xz",
    b"\x28\xb5\x2f\xfd": "packed with zstd",
    b"7z\xbc\xaf": "packed with 7-Zip",
    b"Rar!": "packed with RAR",
    b"version https://git-lfs": "a pointer of Git LFS in place of the file (git lfs pull fetches it)",
    b"<!DOCTYPE": "a web page, perhaps in place of a download",
    b"<html": "a web page, perhaps in place of a download",
}
GUESSES = ["gb18030", "big5", "shift_jis", "euc_jp", "euc_kr", "cp1252", "cp1251"]


@contextmanager
def open_text(path: Path, *, encoding: str | None = None) -> Iterator[Iterator[str]]:
    """Open a text file and give its lines with their ends, each of `MAX_LINE` characters at most: the rest is dropped.

    Args:
        path: packed with gzip or not.
        encoding: by default that of the byte order mark, or UTF-8.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an unknown encoding; it is no regular file, holds no text, or most of its lines are in another
            encoding, which is named; while reading, it is damaged.
    """
    check_regular(path)
    if encoding is not None:
        check_encoding(encoding)
    with path.open("rb") as file:
        is_packed = file.read(len(GZIP)) == GZIP
        file.seek(0)
        opened = cast(IO[bytes], gzip.GzipFile(fileobj=file)) if is_packed else file
        try:
            head = opened.read(HEAD)
            opened.seek(0)
            known = encoding or find_encoding(path, head)
            with io.TextIOWrapper(opened, known, errors="surrogateescape", newline="") as lines:
                yield _bounded_lines(lines)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path} is a damaged gzip file ({error}); fetch it again.") from error


def check_encoding(encoding: str) -> None:
    """Raise ValueError for a name that is no encoding of text."""
    try:
        "".encode(encoding)
    except LookupError as error:
        raise ValueError(f"There is no encoding {encoding!r}; give one such as utf-8, gb18030, big5.") from error


def decode_text(data: bytes) -> str:
    """Return a short text; UTF-8 without a byte order mark.

    Raises:
        UnicodeDecodeError: it is in another encoding.
    """
    return data.decode(_encoding_of_mark(data) or "utf-8")


def find_encoding(path: Path, head: bytes) -> str:
    """Return the encoding of a file that begins so.

    Raises:
        ValueError: it holds no text, or most of its lines are in another encoding, which is named.
    """
    if encoding := _encoding_of_mark(head):
        return encoding
    for magic, what in BINARY.items():
        if head.startswith(magic):
            raise ValueError(f"{path} is {what}; give a text file in UTF-8.")
    if head[1:4:2] == b"\0\0" and 0 not in head[:4:2]:  # two characters of ASCII
        return "utf-16-le"
    if head[:4:2] == b"\0\0" and 0 not in head[1:4:2]:
        return "utf-16-be"
    if head.count(0) > len(head) / 10:
        raise ValueError(f"{path} holds zeros, so it is no text file; save it as text in UTF-8.")
    lines = head.splitlines()[: -1 if len(head) == HEAD else None]
    if len(lines) > 2 and sum(map(_is_foreign, lines)) > len(lines) / 2:
        guess = guess_encoding(head)
        likely = f"; it looks like {guess}: give --encoding {guess}, or save it as UTF-8" if guess else "; save it so"
        raise ValueError(f"{path} is not UTF-8{likely}.")
    return "utf-8"


def guess_encoding(data: bytes) -> str | None:
    """Return the encoding that a text is most likely in; None where nothing fits."""
    from charset_normalizer import from_bytes

    best = from_bytes(data, cp_isolation=GUESSES).best()
    return None if best is None else best.encoding


def _encoding_of_mark(data: bytes) -> str | None:
    return next((encoding for mark, encoding in MARKS.items() if data.startswith(mark)), None)


def _is_foreign(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return True
    return False


def _bounded_lines(lines: IO[str]) -> Iterator[str]:
    while line := lines.readline(MAX_LINE):
        rest = line
        while len(rest) == MAX_LINE and not rest.endswith(("\n", "\r")):
            rest = lines.readline(MAX_LINE)
        yield line


__all__ = ["check_encoding", "decode_text", "find_encoding", "guess_encoding", "open_text"]
