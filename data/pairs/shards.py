"""Shards of image-text pairs: WebDataset tar files, as img2dataset writes them, and parquet files.

*shard*: one file of many samples; *key*: what names a sample in its shard, the common stem of its members in a tar
file and the row number in a parquet file.

`load_dataset("webdataset")` is not used: it ends a shard at the first damaged header without a word, loses the rest of
one at a caption that is not UTF-8, and refuses shards whose first samples do not all have the same members.
"""

import glob
import itertools
import json
import os
import re
import tarfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ..files.bounded import check_regular
from ..files.image_listing import image_suffixes
from ..rows.report import BadRowError, BadRowReport, TooManyBadRowsError
from ..rows.text_files import decode_text
from .readers import read_rows
from .splits import split_column

KINDS = (".tar", ".parquet")
TEXTS = ("txt", "json")
MAX_IMAGE_BYTES, MAX_TEXT_BYTES = 2**28, 2**24  # a sparse member of a small tar file may claim any size
MAX_SHARDS = 1_000_000  # that braces stand for
GZIP = b"\x1f\x8b"
BLOCK = 512
CHUNK = 1 << 20  # bytes that are searched at once
MAX_PADDING = 16 << 20  # zeros behind an archive; `tar` writes a few kilobytes

Sample = tuple[str, dict | BadRowError]


def find_shards(source: str | Path) -> list[str]:
    """Return the shards that a file, a folder or a pattern stands for, sorted.

    A pattern is "cc3m/*.tar", or "cc3m/{000..331}.tar" as WebDataset writes it, of which all must be there.

    Raises:
        FileNotFoundError: there are none, or one of those in braces is missing.
        ValueError: they are of both kinds, or of another kind.
    """
    path = Path(source)
    if path.is_dir():
        shards = [str(shard) for kind in KINDS for shard in path.glob(f"*{kind}")]
    elif path.is_file():
        shards = [str(source)]
    else:
        patterns = expand_braces(str(source))
        found = [[shard for shard in glob.glob(one, recursive=True) if os.path.isfile(shard)] for one in patterns]
        missing = [one for one, matches in zip(patterns, found, strict=True) if not matches]
        if missing and len(patterns) > 1:
            raise FileNotFoundError(
                f"{source} stands for {len(patterns)} shards, of which {len(missing)} are missing, such as "
                f"{missing[0]}; count from the first shard to the last, or write * in place of the braces."
            )
        shards = list(itertools.chain.from_iterable(found))
    if not shards:
        inner = next(iter(sorted(path.glob("*/*.tar"))), None) if path.is_dir() else None
        hint = f" {inner.parent} holds some: give {path}/*/*.tar." if inner else ""
        raise FileNotFoundError(
            f"{source}: no .tar or .parquet file; give a folder of shards, one, or a pattern.{hint}"
        )
    kinds = {Path(shard).suffix.lower() for shard in shards}
    if len(kinds) > 1 or not kinds <= set(KINDS):
        unpack = " Unpack what is packed." if kinds & {".gz", ".tgz", ".zip", ".bz2", ".xz", ".zst"} else ""
        found_kinds = ", ".join(sorted(kinds))
        raise ValueError(f"{source} holds {found_kinds} files; give only .tar or only .parquet files.{unpack}")
    return sorted(shards)


def expand_braces(pattern: str) -> list[str]:
    """Return what a pattern with braces stands for: {000..011} for the numbers of as many digits, {a,b} for a and b.

    >>> expand_braces("{a,b}-{08..10}.tar")
    ['a-08.tar', 'a-09.tar', 'a-10.tar', 'b-08.tar', 'b-09.tar', 'b-10.tar']

    Raises:
        ValueError: there are too many.
    """
    for braces in re.finditer(r"\{([^{}]*)\}", pattern):
        if numbers := re.fullmatch(r"(\d{1,9})\.\.(\d{1,9})", braces[1]):
            first, last = int(numbers[1]), int(numbers[2])
            if last - first >= MAX_SHARDS:
                raise ValueError(f"{pattern} stands for {last - first + 1:,} shards; at most {MAX_SHARDS:,} are read.")
            options = [f"{number:0{len(numbers[1])}d}" for number in range(first, last + 1)]
        elif "," in braces[1]:
            options = braces[1].split(",")
        else:
            continue
        tails = expand_braces(pattern[braces.end() :])
        return [f"{pattern[: braces.start()]}{option}{tail}" for option in options for tail in tails]
    return [pattern]


def first_fields(shard: str, columns: tuple[str, str]) -> dict:
    """Return the fields of the first sample that can be read, {} if none can.

    Raises:
        ValueError: a parquet file lacks a column, so that a wrong name is an error before training.
    """
    if shard.lower().endswith(".parquet"):
        next(read_rows(Path(shard), columns, Path()), None)
    return next((fields for _, fields in read_shard(shard, columns) if isinstance(fields, dict)), {})


def read_shard(shard: str, columns: tuple[str, str], *, with_images: bool = True) -> Iterator[Sample]:
    """Yield (key, fields) with the two columns (image, text), and (key, `BadRowError`) for what cannot be read.

    In a tar file the image is the sample's first image, and the text is the field named by the text column of its
    .json, else the member with that suffix, such as .cls, else its .txt, else the field `caption` of its .json. Boxes
    are `boxes` or `bbox` of its .json.

    Never raises: what the damage of a shard costs is one error at its end.

    Args:
        with_images: otherwise the image is empty bytes, and the images' bytes are not read.
    """
    read = _read_tar if shard.lower().endswith(".tar") else _read_parquet
    is_empty = True
    try:
        for sample in read(shard, columns, with_images):
            is_empty = False
            yield sample
        if is_empty:
            yield "", BadRowError("empty shard", "it holds no sample")
    except Exception as error:  # damaged archives raise nearly anything; it is counted and shown
        yield "", BadRowError("broken shard", f"{type(error).__name__}: {error}")


def _read_tar(shard: str, columns: tuple[str, str], with_images: bool) -> Iterator[Sample]:
    check_regular(shard)
    with open(shard, "rb") as stream:
        if stream.read(len(GZIP)) == GZIP:
            raise tarfile.ReadError("it is packed with gzip; unpack it")
        start: int | None = 0
        while start is not None:
            end = yield from _read_archive(stream, start, columns, with_images)
            start = _find_next_archive(stream, end)


def _read_archive(
    stream: BinaryIO, start: int, columns: tuple[str, str], with_images: bool
) -> Generator[Sample, None, int]:
    """Yield the samples of the archive that starts at a byte, and return the byte where it ends."""
    stream.seek(start)
    end = start
    # Bytes of names that are no UTF-8, such as GBK, are escaped.
    with tarfile.open(fileobj=stream, mode="r:", errors="backslashreplace") as archive:

        def members() -> Iterator[tarfile.TarInfo]:
            nonlocal end
            for member in iter(archive.next, None):
                end = member.offset_data + -(-member.size // BLOCK) * BLOCK
                archive.members.clear()  # type: ignore[attr-defined]  # not in typeshed; it grows by a kilobyte a member
                if member.isreg() and not os.path.basename(member.name).startswith("."):
                    yield member

        for key, group in itertools.groupby(members(), key=lambda member: _split_name(member.name)[0]):
            parts: dict[str, bytes | None] = {}
            others = []
            for member in group:
                suffix = _split_name(member.name)[1]
                is_text = suffix in (*TEXTS, columns[1])
                if not (is_text or _is_image(suffix)):
                    others.append(suffix)
                elif is_text or with_images:
                    if member.size > (MAX_TEXT_BYTES if is_text else MAX_IMAGE_BYTES):
                        parts[suffix] = None
                    elif (content := archive.extractfile(member)) is not None:
                        parts[suffix] = content.read()
            yield key, _fields(parts, others, columns, with_images)
    return end


def _find_next_archive(stream: BinaryIO, end: int) -> int | None:
    """Return the byte where another archive starts behind the end of one, as `cat a.tar b.tar` writes; None without.

    Raises:
        tarfile.ReadError: there is no end. A damaged header looks like one to `tarfile`; the real one is a block of
            zeros. Or there are zeros without end, as in a file whose download only began.
    """
    stream.seek(end)
    if stream.read(BLOCK) != bytes(BLOCK):
        raise tarfile.ReadError(f"no end of archive at byte {end}: the file is cut off or damaged there")
    while blocks := stream.read(CHUNK):
        if rest := len(blocks.lstrip(b"\0")):
            return stream.tell() - len(blocks) + (len(blocks) - rest) // BLOCK * BLOCK
        if stream.tell() - end > MAX_PADDING:
            raise tarfile.ReadError(f"from byte {end} on it holds zeros only, more than {MAX_PADDING:,} of them")
    return None


def _split_name(name: str) -> tuple[str, str]:
    folder, base = os.path.split(name)
    stem, _, suffix = base.partition(".")
    return os.path.join(folder, stem), suffix.lower()


def _is_image(suffix: str) -> bool:
    return f".{suffix}" in image_suffixes()


def _is_member(suffix: str) -> bool:
    return suffix in TEXTS or _is_image(suffix)


def _fields(
    parts: dict[str, bytes | None], others: list[str], columns: tuple[str, str], with_images: bool
) -> dict | BadRowError:
    """Return the fields of one sample, from its members by suffix; `others` are suffixes that mean nothing."""
    image_column, text_column = columns
    image = next((suffix for suffix in parts if _is_image(suffix)), None)
    if with_images and image is None:
        return BadRowError("missing field", f"no image among {sorted([*parts, *others])[:10]}{_about_dots(others)}")
    found = {suffix: data for suffix, data in parts.items() if data is not None}
    if len(found) < len(parts):
        limits = f"more than {MAX_IMAGE_BYTES:,} bytes, or a text of more than {MAX_TEXT_BYTES:,}"
        return BadRowError("too large", f"an image of {limits}")
    try:
        described = json.loads(found.get("json", b"{}"))
        plain = next((decode_text(found[one]) for one in (text_column, "txt") if one in found and one != "json"), None)
    except UnicodeDecodeError as error:
        return BadRowError("invalid UTF-8", ascii(error.object[:80]))
    except (ValueError, RecursionError) as error:
        return BadRowError("broken JSON", str(error))
    if not isinstance(described, dict):
        return BadRowError("broken JSON", f"{str(described)[:80]!r} is no object")
    texts = (described.get(text_column), plain, described.get("caption"))
    text = next((text for text in texts if text is not None), None)
    if text is None:
        found_none = f"no .txt, and no {text_column!r} or 'caption' in a .json"
        return BadRowError("missing field", f"{found_none}{_about_dots(others)}")
    boxes = next((described[name] for name in ("boxes", "bbox") if name in described), None)
    row = {image_column: b"" if image is None else found[image], text_column: text, "boxes": boxes}
    split = split_column(described)
    return row if split is None else row | {split: described[split]}


def _about_dots(others: list[str]) -> str:
    if not any(_is_member(suffix.rpartition(".")[2]) for suffix in others):
        return "; the members of a sample follow each other" if not others else ""
    return "; a sample's name ends at the first dot, as in WebDataset: write IMG_1_2.jpg for IMG_1.2.jpg"


def _read_parquet(shard: str, columns: tuple[str, str], with_images: bool) -> Iterator[Sample]:
    image_column, text_column = columns
    wanted = columns if with_images else (text_column, text_column)
    for number, fields in read_rows(Path(shard), wanted, Path()):
        if isinstance(fields, dict) and not with_images:
            fields = {image_column: b"", **fields}
        yield str(number), fields


@dataclass
class ShardCounts:
    """Compares the shards that are broken or empty with all: how many rows such a one had, nobody knows.

    Attributes:
        max_bad_fraction: of the shards; one among several is allowed unless it is 0, as `BadRowReport` has it.
        report: of the rows, for the message.
        seen, broken: names of shards.
    """

    max_bad_fraction: float
    report: BadRowReport
    seen: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)

    def add(self, shard: str, row: object) -> None:
        """Note a row, or why there is none."""
        self.seen.add(shard)
        if isinstance(row, BadRowError) and row.cause in ("broken shard", "empty shard"):
            self.broken.add(shard)

    def raise_above(self, shards: int | None = None) -> None:
        """Raise TooManyBadRowsError if a greater fraction of so many shards, by default of those seen, is broken."""
        shards = len(self.seen) if shards is None else shards
        if len(self.broken) > max(1, self.max_bad_fraction * shards):
            raise TooManyBadRowsError(
                f"{len(self.broken)} of {shards} shards are broken or empty; at most {self.max_bad_fraction:.0%}, or "
                f"one, may be.\n{self.report}"
            )


__all__ = ["KINDS", "ShardCounts", "find_shards", "first_fields", "read_shard"]
