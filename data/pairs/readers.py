"""The files that users keep image-text pairs in, read row by row: JSON lines, CSV, TSV, parquet, a folder of these.

A reader yields (row number, fields) and, for a row that cannot be read, (row number, `BadRowError`). Row numbers count
from 1 and are line numbers in text files. Bytes that are not UTF-8 come out as lone surrogates, for the caller to find.
"""

import ast
import csv
import difflib
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..files.bounded import check_regular
from ..rows.report import BadRowError
from ..rows.text import MAX_CHARACTERS
from ..rows.text_files import open_text
from .conceptual_captions import numbered_images
from .splits import split_column

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
    if source.exists():
        check_regular(source)
    else:
        raise FileNotFoundError(f"{source} does not exist; give a file of pairs or a folder with {FOLDER_FILES[0]}.")
    if kind_of(source) not in READERS or source.name.lower().endswith(".parquet.gz"):
        raise ValueError(f"{source} is none of {', '.join(READERS)}; rename or convert it.")
    return [source]


def read_rows(file: Path, columns: tuple[str, str], root: Path, *, encoding: str | None = None) -> Iterator[Row]:
    """Yield the rows of a file as dicts that have the two columns (image, text); `boxes` too, where there are some.

    The image column `image` may also be called `file_name`, as in the metadata files of `datasets` image folders.

    Args:
        file: of a kind in `READERS`, or one of text with .gz behind it.
        root: where images are looked for that a file names only by their row.
        encoding: of a text file; see `open_text`.

    Raises:
        ValueError: a table lacks a column, and the message names the nearest one; a text file is none.
    """
    return READERS[kind_of(file)](file, columns, root, encoding)


def read_files(
    files: list[Path], columns: tuple[str, str], root: Path, *, encoding: str | None = None
) -> Iterator[tuple[int | str, dict | BadRowError]]:
    """Yield the rows of one file by their numbers, or of several by "file name/number"; see `read_rows`.

    Raises:
        ValueError: also where none of the first lines of JSON has a column.
    """
    for file in files:
        rows = read_rows(file, columns, root, encoding=encoding)
        for number, fields in _check_first_lines(file, rows, columns) if kind_of(file) == ".jsonl" else rows:
            yield number if len(files) == 1 else f"{file.name}/{number}", fields


def kind_of(file: Path) -> str:
    """Return the suffix that says how a file is read, without .gz behind it."""
    kind = file.suffix.lower()
    return Path(file.stem).suffix.lower() if kind == ".gz" else kind


def _read_json_lines(file: Path, columns: tuple[str, str], root: Path, encoding: str | None) -> Iterator[Row]:
    with open_text(file, encoding=encoding) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            if number == 1 and line.lstrip().startswith("[") and not line.rstrip().endswith("}"):
                raise ValueError(f"{file} is a JSON list; write one object a line: jq -c '.[]' {file} > lines.jsonl")
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
    split = split_column(fields)
    return row if split is None else row | {split: fields[split]}


def _read_table(file: Path, columns: tuple[str, str], root: Path, encoding: str | None) -> Iterator[Row]:
    with open_text(file, encoding=encoding) as lines:
        first = next(lines, "")
        if kind_of(file) == ".tsv" and _is_conceptual_captions(first):
            yield from _read_conceptual_captions(itertools.chain([first], lines), columns, root)
            return
        before, delimiter = 0, None
        if given := re.fullmatch(r"sep=(.)\s*", first):  # a line for Excel
            before, delimiter, first = 1, given[1], next(lines, "")
        delimiter = delimiter or _find_delimiter(file, first, columns)
        dialect: dict = {"delimiter": delimiter, "strict": True}
        if kind_of(file) == ".tsv" and delimiter == "\t":
            dialect["quoting"] = csv.QUOTE_NONE
        reader = csv.reader(itertools.chain([first], lines), **dialect)
        header = _names(next(reader, []))
        _check_columns(file, header, columns)
        if twice := [name for name in columns if header.count(name) > 1]:
            raise ValueError(f"{file} has the column {twice[0]!r} twice; give each column a name of its own.")
        while True:
            first_lost = reader.line_num + before + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:  # an open quote may have swallowed many lines: each of them is lost
                for number in range(first_lost, reader.line_num + before + 1):
                    yield number, BadRowError("broken line", str(error))
                continue
            number = reader.line_num + before
            if len(cells) > len(header):
                found = f"{len(cells)} cells under {len(header)} columns; is a separator in the text not quoted?"
                yield number, BadRowError("broken line", found)
            elif cells:
                fields: dict[str, object] = dict(zip(header, cells, strict=False))
                if columns[1] in fields:
                    fields[columns[1]] = _read_list(str(fields[columns[1]]))
                yield number, _with_image_column(fields, columns)


def _names(cells: list[str]) -> list[str]:
    return [cell.strip("\ufeff \t\r\n") for cell in cells]


def _find_delimiter(file: Path, first: str, columns: tuple[str, str]) -> str:
    """Return what separates the names of a header: that of the file's kind, or another one if only it gives them."""
    own, others = ("\t", ",;|") if kind_of(file) == ".tsv" else (",", ";\t|")
    for delimiter in (own, *others):
        try:
            if columns[1] in _names(next(csv.reader([first], delimiter=delimiter), [])):
                return delimiter
        except csv.Error as error:
            raise ValueError(f"{file}: its first line holds no names of columns ({error}).") from error
    return own


def _read_list(text: str) -> str | list[str]:
    """Return the captions of a cell that holds a list of them, as JSON or as Python writes it; else the cell."""
    if not (text.startswith("[") and text.endswith("]") and len(text) <= MAX_CHARACTERS):
        return text
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list) and found and all(isinstance(one, str) for one in found):
            return found
    return text


def _is_conceptual_captions(first: str) -> bool:
    cells = first.rstrip("\r\n").split("\t")
    return len(cells) > 1 and any("://" in cell for cell in cells)


def _read_conceptual_captions(lines: Iterable[str], columns: tuple[str, str], root: Path) -> Iterator[Row]:
    """Return rows of CC3M (caption, URL) and CC12M (URL, caption), which have no header; the images are on disk."""
    image_column, text_column = columns
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


def _read_parquet(file: Path, columns: tuple[str, str], root: Path, encoding: str | None) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        check_regular(file)
        parquet = pq.ParquetFile(file)
    except (pa.ArrowException, OSError, ValueError) as error:
        yield 1, BadRowError("broken shard", f"{file}: {str(error)[:100]}")
        return
    with parquet:
        names = parquet.schema_arrow.names
        _check_columns(file, names, columns)
        wanted = [name for name in names if name in {*columns, "file_name", "boxes", split_column(names)}]
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
    if not any(names):
        raise ValueError(f"{file} has no column, since its first line is empty; write the header {','.join(columns)}.")
    present = {*names, "image"} if "file_name" in names else set(names)
    for column in columns:
        if column not in present:
            nearest = difflib.get_close_matches(column, names, n=4, cutoff=0.4)
            hint = f"Did you mean {' or '.join(nearest)}? " if nearest else ""
            has = ", ".join(name[:30] for name in names[:10]) + (", ..." if len(names) > 10 else "")
            option = "text_column" if column == columns[1] else "image_column"
            if any(re.search(r"\.(jpe?g|png|webp|gif|bmp|tiff?)$", name, re.IGNORECASE) for name in names):
                hint = f"Its first line is a row: write the header {','.join(columns)} above it. "
            raise ValueError(f"{file} has no column {column!r}, only {has}. {hint}Give --{option}.")


READERS = {".jsonl": _read_json_lines, ".csv": _read_table, ".tsv": _read_table, ".parquet": _read_parquet}

__all__ = ["FOLDER_FILES", "find_pair_files", "kind_of", "read_files", "read_rows"]
