"""The user's own image-text pairs: a file in, a `datasets.Dataset` and an account of every row left out."""

import atexit
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..files.atomic import naming, temporary_path
from ..rows.report import BadRowError, BadRowReport, TooManyBadRowsError, check_fraction
from ..rows.types import PairRow
from ..rows.unlisted_images import UnlistedImages
from ..rows.validation import RowChecker
from .readers import find_pair_files, read_files
from .shards import ShardCounts
from .splits import SplitFilter

if TYPE_CHECKING:
    from datasets import Dataset


def read_pairs(
    source: str | Path,
    *,
    image_root: str | Path | None = None,
    image_column: str = "image",
    text_column: str = "text",
    encoding: str | None = None,
    split: str | None = None,
    max_rows: int | None = None,
    on_bad_row: Literal["skip", "raise"] = "skip",
    max_bad_fraction: float = 0.1,
    max_text_length: int | None = None,
    check_image: Callable[[str | bytes], object] | None = None,
    log: bool = True,
) -> "tuple[Dataset, BadRowReport]":
    """Return the pairs of a file as a dataset, and the report of what was left out or repaired.

    The file is read as a stream and the kept rows go to a temporary Arrow file that lives as long as the process, so
    that memory does not grow with the data. Paths stay paths; bytes stay encoded.

    Args:
        source: a .jsonl, .csv, .tsv (no quoting) or .parquet file, text perhaps packed with gzip (.jsonl.gz), an image
            folder that holds metadata.jsonl, metadata.csv or captions.tsv, or a folder of .parquet files. JSON lines
            may also be those of the released BriVL code (image_id, sentences, bbox). A .tsv without a header is one of
            CC3M or CC12M: a caption and a URL, in either order; the image of line 12 is 12.jpg or 000012.jpg (or .png,
            .webp) in `image_root`.
        image_root: the folder that image paths are relative to and must not leave; by default the file's own.
        image_column: holds a path, bytes, or {"bytes", "path"}. `file_name` is read where there is no `image`. In a
            .tsv without a header, the number of the column that holds the path, such as "3".
        text_column: holds a string, or a list of captions of the same image.
        encoding: of a text file, such as "gb18030"; by default that of its byte order mark, or UTF-8.
        split: read only the rows of this split, in a file with a column `split`; see `split_name`. Those of the others
            are counted in `other_splits` of the report.
        max_rows: read no more rows than this.
        on_bad_row: leave a bad row out and count it, or raise at the first one.
        max_bad_fraction: raise if a greater fraction of the rows, or of their boxes, is bad.
        max_text_length: cut longer texts to so many characters, and count them.
        check_image: called with each path or each image's bytes; raises ValueError, whose `cause` attribute, if it
            has one, is the cause to count by. Without it an image only has to exist.
        log: log the report if anything was left out or repaired.

    Returns:
        A dataset with `image` (`datasets.Image`), `text` (a string, or a list of strings if any row has a list),
        `row_number` (counts from 1 in each file; the line number in text files) and, if any row has some, `boxes`
        (absolute pixels, [x1, y1, x2, y2]); and the report.

    Raises:
        FileNotFoundError: no such file, or no known file in the folder.
        ValueError: the file lacks a column, or has other splits alone, or a row is bad and `on_bad_row` is "raise".
        TooManyBadRowsError: too many rows are bad, or there are no rows at all.
    """
    check_fraction(max_bad_fraction)
    files = find_pair_files(Path(source))
    root = Path(os.path.abspath(image_root if image_root is not None else files[0].parent))
    report = BadRowReport(files[0] if len(files) == 1 else Path(source), on_bad_row=on_bad_row)
    checker = RowChecker(root, (image_column, text_column), max_text_length, check_image, report)
    splits, unlisted = SplitFilter(split), UnlistedImages.of(source, image_column, image_root)
    shards = ShardCounts(max_bad_fraction, report)
    found = unlisted.watch(_by_file(read_files(files, checker.columns, checker.root, encoding=encoding), shards))
    rows = itertools.islice(splits.select(found), max_rows)
    dataset = _write_dataset(_good_rows(rows, checker, report))
    splits.check(report.source)
    report.other_splits, report.has_splits = splits.others, bool(splits.is_named)
    if max_rows is None:
        report.not_looked_at = unlisted.count()
    if not report.rows_read:
        raise TooManyBadRowsError(f"{report.source} holds no rows; write one pair a line.")
    report.raise_above(max_bad_fraction)
    shards.raise_above()
    checker.raise_above(max_bad_fraction)
    if log:
        report.log()
    assert dataset is not None, "there are good rows"
    return dataset, report


def _by_file(
    rows: Iterable[tuple[int | str, dict | BadRowError]], shards: ShardCounts
) -> Iterator[tuple[int | str, dict | BadRowError]]:
    for place, fields in rows:
        shards.add(str(place).rpartition("/")[0], fields)
        yield place, fields


def _good_rows(
    rows: Iterable[tuple[int | str, dict | BadRowError]], checker: RowChecker, report: BadRowReport
) -> Iterator[PairRow]:
    def check(place: int | str, fields: dict) -> PairRow:
        row = checker.check(place, fields)
        row["row_number"] = int(str(place).rpartition("/")[2])
        return row

    return report.check_rows(rows, check)


def _write_dataset(rows: Iterator[PairRow]) -> "Dataset | None":
    """Return the rows as a dataset that is mapped from a temporary Arrow file, or None if there are none.

    If any row has a list of captions, a single caption becomes a list of one.
    """
    from datasets import Dataset, Image

    prefix = temporary_path(Path(tempfile.gettempdir()) / "pairs_").name  # what killed processes left is removed
    folder = tempfile.mkdtemp(prefix=prefix)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = f"{folder}/strings.arrow"
    list_row = _write_rows(file, rows, with_lists=False)
    dataset = Dataset.from_file(file)
    if list_row is not None:
        strings = dataset.cast_column("image", Image(decode=False))
        file = f"{folder}/lists.arrow"
        _write_rows(file, itertools.chain(strings, [list_row], rows), with_lists=True)
        dataset = Dataset.from_file(file)
    if not len(dataset):
        return None
    has_boxes = dataset.data.column("boxes").null_count < len(dataset)
    return dataset if has_boxes else dataset.remove_columns("boxes")


def _write_rows(file: str, rows: Iterable[PairRow], *, with_lists: bool) -> PairRow | None:
    """Write rows; without lists, up to the first row that has a list, which is returned."""
    from datasets import Features, Image, List, Value
    from datasets.arrow_writer import ArrowWriter

    text = List(Value("string")) if with_lists else Value("string")
    boxes = List(List(Value("float32"), length=4))
    features = Features({"image": Image(), "text": text, "boxes": boxes, "row_number": Value("int64")})
    with naming(Path(file)), ArrowWriter(path=file, features=features) as writer:
        for row in rows:
            if isinstance(row["text"], str) and with_lists:
                row["text"] = [row["text"]]
            if isinstance(row["text"], list) and not with_lists:
                break
            writer.write(row)
        else:
            row = None
        writer.finalize()
    return row


__all__ = ["read_pairs"]
