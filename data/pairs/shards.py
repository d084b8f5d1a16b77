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
import tarfile
from collections.abc import Iterator
from pathlib import Path

from ..files.image_listing import image_suffixes
from ..rows.report import BadRowError
from .readers import read_rows
from .splits import SPLIT

KINDS = (".tar", ".parquet")
MAX_IMAGE_BYTES = 2**28  # a sparse member of a small tar file may claim any size
BLOCK = 512

Sample = tuple[str, dict | BadRowError]


def find_shards(source: str | Path) -> list[str]:
    """Return the shards that a file, a folder or a pattern such as "cc3m/*.tar" stands for, sorted.

    Raises:
        FileNotFoundError: there are none.
        ValueError: they are of both kinds, or of another kind.
    """
    if Path(source).is_dir():
        shards = [str(path) for kind in KINDS for path in Path(source).glob(f"*{kind}")]
    else:
        shards = [path for path in glob.glob(str(source), recursive=True) if os.path.isfile(path)]
    if not shards:
        raise FileNotFoundError(f"{source}: no .tar or .parquet file; give a folder of shards, one, or a pattern.")
    kinds = {Path(shard).suffix.lower() for shard in shards}
    if len(kinds) > 1 or not kinds <= set(KINDS):
        raise ValueError(f"{source} holds {', '.join(sorted(kinds))} files; give only .tar or only .parquet files.")
    return sorted(shards)


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
    .json, else its .txt, else the field `caption` of its .json. Boxes are `boxes` or `bbox` of its .json.

    Never raises: what the damage of a shard costs is one error at its end.

    Args:
        with_images: otherwise the image is empty bytes, and the images' bytes are not read.
    """
    read = _read_tar if shard.lower().endswith(".tar") else _read_parquet
    try:
        yield from read(shard, columns, with_images)
    except Exception as error:  # damaged archives raise nearly anything; it is counted and shown
        yield "", BadRowError("broken shard", f"{type(error).__name__}: {error}")


def _read_tar(shard: str, columns: tuple[str, str], with_images: bool) -> Iterator[Sample]:
    end = 0
    with open(shard, "rb") as stream, tarfile.open(fileobj=stream, mode="r:") as archive:

        def members() -> Iterator[tarfile.TarInfo]:
            nonlocal end
            for member in iter(archive.next, None):
                end = member.offset_data + -(-member.size // BLOCK) * BLOCK
                archive.members.clear()  # type: ignore[attr-defined]  # not in typeshed; it grows by a kilobyte a member
                if member.isreg() and not os.path.basename(member.name).startswith("."):
                    yield member

        for key, group in itertools.groupby(members(), key=lambda member: _split_name(member.name)[0]):
            parts: dict[str, bytes | None] = {}
            for member in group:
                suffix = _split_name(member.name)[1]
                if suffix in ("txt", "json") or (with_images and _is_image(suffix)):
                    if member.size > MAX_IMAGE_BYTES:
                        parts[suffix] = None
                    elif (content := archive.extractfile(member)) is not None:
                        parts[suffix] = content.read()
            yield key, _fields(parts, columns, with_images)
        # A damaged header looks like the end to `tarfile`; the real end is a block of zeros.
        stream.seek(end)
        if stream.read(BLOCK) != bytes(BLOCK):
            raise tarfile.ReadError(f"no end of archive at byte {end}: the file is cut off or damaged there")


def _split_name(name: str) -> tuple[str, str]:
    folder, base = os.path.split(name)
    stem, _, suffix = base.partition(".")
    return os.path.join(folder, stem), suffix.lower()


def _is_image(suffix: str) -> bool:
    return f".{suffix}" in image_suffixes()


def _fields(parts: dict[str, bytes | None], columns: tuple[str, str], with_images: bool) -> dict | BadRowError:
    """Return the fields of one sample, from its members by suffix."""
    image_column, text_column = columns
    image = next((suffix for suffix in parts if _is_image(suffix)), None)
    if with_images and image is None:
        return BadRowError("missing field", f"no image among {sorted(parts)}")
    found = {suffix: data for suffix, data in parts.items() if data is not None}
    if len(found) < len(parts):
        return BadRowError("too large", f"a member of more than {MAX_IMAGE_BYTES} bytes")
    try:
        described = json.loads(found.get("json", b"{}"))
        plain = found["txt"].decode("utf-8-sig") if "txt" in found else None
    except UnicodeDecodeError as error:
        return BadRowError("invalid UTF-8", ascii(error.object[:80]))
    except (ValueError, RecursionError) as error:
        return BadRowError("broken JSON", str(error))
    if not isinstance(described, dict):
        return BadRowError("broken JSON", f"{str(described)[:80]!r} is no object")
    texts = (described.get(text_column), plain, described.get("caption"))
    text = next((text for text in texts if text is not None), None)
    if text is None:
        return BadRowError("missing field", f"no .txt, and no {text_column!r} or 'caption' in a .json")
    boxes = next((described[name] for name in ("boxes", "bbox") if name in described), None)
    row = {image_column: b"" if image is None else found[image], text_column: text, "boxes": boxes}
    return row | ({SPLIT: described[SPLIT]} if SPLIT in described else {})


def _read_parquet(shard: str, columns: tuple[str, str], with_images: bool) -> Iterator[Sample]:
    image_column, text_column = columns
    wanted = columns if with_images else (text_column, text_column)
    for number, fields in read_rows(Path(shard), wanted, Path()):
        if isinstance(fields, dict) and not with_images:
            fields = {image_column: b"", **fields}
        yield str(number), fields


__all__ = ["KINDS", "find_shards", "first_fields", "read_shard"]
