"""The files that users keep image-text pairs in, read row by row: JSON lines, CSV, TSV, parquet, a folder of these.

A reader yields (row number, fields) and, for a row that cannot be read, (row number, `BadRowError`). Row numbers count
from 1 and are line numbers in text files. Bytes that are not UTF-8 come out as lone surrogates, for the caller to find.
"""

import csv
import difflib
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..rows.report import BadRowError
from .conceptual_captions import numbered_images
from .splits import SPLIT

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER_FILES = ("metadata.jsonl", "metadata.csv", "captions.tsv")
HEAD = 100  # JSON lines whose keys are looked at for the columns
SENTENCE_KEYS = ("sur_text", "easy", "first", "alt_text")

Row = tuple[int, dict | BadRowError]


def find_pair_files(source: Path) -> list[Path]:
    """Return the file itself, the one of `FOLDER_FILES` that an image folder holds, or the parquet files of a folder.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is of no known kind.
    """
    if source.is_dir():
        for name in FOLDER_FILES:
            if (source / name).is_file():
                return [source / name]
        if files := sorted(source.glob("*.parquet")):
            return files
        known = f"{', '.join(FOLDER_FILES)} and no .parquet file"
        raise FileNotFoundError(f"{source} holds none of {known}; add one, or give the file itself.")
    if not source.is_file():
        raise FileNotFoundError(f"{source} does not exist; give a file of pairs or a folder with {FOLDER_FILES[0]}.")
    if source.suffix.lower() not in READERS:
        raise ValueError(f"{source} is none of {', '.join(READERS)}; rename or convert it.")
    return [source]


def read_rows(file: Path, columns: tuple[str, str], root: Path) -> Iterator[Row]:
    """Yield the rows of a file as dicts that have the two columns (image, text); `boxes` too, where there are some.

    The image column `image` may also be called `file_name`, as in the metadata files of `datasets` image folders.

    Args:
        file: of a kind in `READERS`.
        root: where images are looked for that a file names only by their row.

    Raises:
        ValueError: a table lacks a column; the message names the nearest one.
    """
    return READERS[file.suffix.lower()](file, columns, root)


def read_files(
    files: list[Path], columns: tuple[str, str], root: Path
) -> Iterator[tuple[int | str, dict | BadRowError]]:
    """Yield the rows of one file by their numbers, or of several by "file name/number"; see `read_rows`.

    Raises:
        ValueError: also where none of the first lines of JSON has a column.
    """
    for file in files:
        rows = read_rows(file, columns, root)
        for number, fields in _check_first_lines(file, rows, columns) if file.suffix.lower() == ".jsonl" else rows:
            yield number if len(files) == 1 else f"{file.name}/{number}", fields


def _read_json_lines(file: Path, columns: tuple[str, str], root: Path) -> Iterator[Row]:
    with file.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                fields = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, BadRowError("broken line", str(error))
                continue
            if not isinstance(fields, dict):
                yield number, BadRowError("broken line", f"{line[:80]!a} is no JSON object")
                continue
            yield number, _with_image_column(_from_brivl_lines(fields, columns), columns)


def _check_first_lines(file: Path, rows: Iterator[Row], columns: tuple[str, str]) -> Iterator[Row]:
    head = list(itertools.islice(rows, HEAD))
    names = dict.fromkeys(name for _, fields in head if isinstance(fields, dict) for name in fields)
    if names:
        _check_columns(file, names, columns)
    return itertools.chain(head, rows)


def _from_brivl_lines(fields: dict, columns: tuple[str, str]) -> dict:
    """Return a row of the released BriVL code (image_id: path, sentences: lists of [key, text], or texts) as ours."""
    if not {"image_id", "sentences"} <= fields.keys():
        return fields
    sentences = fields["sentences"]
    if isinstance(sentences, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in sentences):
        by_key = {str(key): text for key, text in reversed(sentences)}
        order = [*SENTENCE_KEYS, *(str(key) for key, _ in sentences)]
        sentences = next((by_key[key] for key in order if by_key.get(key)), "")
    image_column, text_column = columns
    row = {image_column: fields["image_id"], text_column: sentences, "boxes": fields.get("bbox")}
    return row | ({SPLIT: fields[SPLIT]} if SPLIT in fields else {})


def _read_csv(file: Path, columns: tuple[str, str], root: Path) -> Iterator[Row]:
    return _read_table(file, columns, {"delimiter": ",", "strict": True})


def _read_tsv(file: Path, columns: tuple[str, str], root: Path) -> Iterator[Row]:
    with file.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
        first = next(lines, "").rstrip("\r\n").split("\t")
    if len(first) > 1 and any("://" in cell for cell in first):
        return _read_conceptual_captions(file, columns, root)
    return _read_table(file, columns, {"delimiter": "\t", "quoting": csv.QUOTE_NONE})


def _read_conceptual_captions(file: Path, columns: tuple[str, str], root: Path) -> Iterator[Row]:
    """Return rows of CC3M (caption, URL) and CC12M (URL, caption), which have no header; the images are on disk."""
    image_column, text_column = columns
    with file.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
        find_image = None if image_column.isdecimal() else numbered_images(root)
        for number, line in enumerate(lines, start=1):
            cells = line.rstrip("\r\n").split("\t")
            if cells == [""]:
                continue
            is_url = ["://" in cell for cell in cells[:2]]
            if sum(is_url) != 1 or (find_image is None and len(cells) < int(image_column)):
                yield number, BadRowError("broken line", f"{line[:80]!a} is no caption and URL, or lacks its image")
                continue
            image = find_image(number) if find_image else cells[int(image_column) - 1]
            yield number, {image_column: image, text_column: cells[is_url.index(False)]}


def _read_table(file: Path, columns: tuple[str, str], dialect: dict) -> Iterator[Row]:
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        reader = csv.reader(lines, **dialect)
        header = next(reader, [])
        _check_columns(file, header, columns)
        while True:
            lines_before = reader.line_num
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:  # an open quote may have swallowed many lines: each of them is lost
                for number in range(lines_before + 1, reader.line_num + 1):
                    yield number, BadRowError("broken line", str(error))
                continue
            if len(cells) > len(header):
                found = f"{len(cells)} cells under {len(header)} columns; is a separator in the text not quoted?"
                yield reader.line_num, BadRowError("broken line", found)
            elif cells:
                yield reader.line_num, _with_image_column(dict(zip(header, cells, strict=False)), columns)


def _read_parquet(file: Path, columns: tuple[str, str], root: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        parquet = pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        yield 1, BadRowError("broken shard", f"{file}: {error}")
        return
    with parquet:
        names = parquet.schema_arrow.names
        _check_columns(file, names, columns)
        wanted = [name for name in names if name in {*columns, "file_name", "boxes", SPLIT}]
        start = 0
        for group in range(parquet.num_row_groups):  # a damaged one costs none of the others
            number = start
            try:
                for batch in parquet.iter_batches(batch_size=64, row_groups=[group], columns=wanted):
                    for fields in _python_rows(batch):  # 64, since a row may hold an encoded image
                        number += 1
                        yield number, fields if isinstance(fields, BadRowError) else _with_image_column(fields, columns)
            except (pa.ArrowException, OSError) as error:
                yield number + 1, BadRowError("broken shard", f"{file}, row group {group}: {error}")
            start += parquet.metadata.row_group(group).num_rows


def _python_rows(batch: "pa.RecordBatch") -> Iterator[dict | BadRowError]:
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:  # Arrow does not check the bytes of a string before they are asked for
        for index in range(len(batch)):
            try:
                yield from batch.slice(index, 1).to_pylist()
            except UnicodeDecodeError as error:
                yield BadRowError("invalid UTF-8", ascii(error.object[:80]))


def _with_image_column(fields: dict, columns: tuple[str, str]) -> dict:
    if columns[0] == "image" and "image" not in fields and "file_name" in fields:
        return {**fields, "image": fields["file_name"]}
    return fields


def _check_columns(file: Path, header: Iterable[str], columns: tuple[str, str]) -> None:
    names = list(header)
    present = {*names, "image"} if "file_name" in names else set(names)
    for column in columns:
        if column not in present:
            nearest = difflib.get_close_matches(column, names, n=4, cutoff=0.4)
            hint = f"Did you mean {' or '.join(nearest)}? " if nearest else ""
            has = ", ".join(name[:30] for name in names[:10]) + (", ..." if len(names) > 10 else "")
            option = "text_column" if column == columns[1] else "image_column"
            raise ValueError(f"{file} has no column {column!r}, only {has}. {hint}Give --{option}.")


READERS = {".jsonl": _read_json_lines, ".csv": _read_csv, ".tsv": _read_tsv, ".parquet": _read_parquet}

__all__ = ["FOLDER_FILES", "find_pair_files", "read_files", "read_rows"]
