"""Columns of the user beside the embeddings: a table that is joined to images by their id or path."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from ...data.files.bounded import check_regular
from .folder import own_columns

KEYS = ("id", "path", "image", "file_name")  # by which a row finds its image
READERS = {
    ".csv": pa.csv.read_csv,
    ".tsv": lambda path: pa.csv.read_csv(path, parse_options=pa.csv.ParseOptions(delimiter="\t")),
    ".jsonl": pa.json.read_json,
    ".parquet": pq.read_table,
}


class Metadata:
    """A table of the user, one row an image.

    Attributes:
        columns: those beside the key, as string, int64, double or bool.
        unused: keys of rows that no image has asked for so far.
    """

    def __init__(self, table: pa.Table, source: Path, kind: str) -> None:
        key = next((name for name in KEYS if name in table.column_names), None)
        if key is None:
            raise ValueError(f"{source} has none of the columns {', '.join(KEYS)}, only {table.column_names[:10]}.")
        names = table[key].cast(pa.string()).to_pylist()
        self._rows = {name: row for row, name in enumerate(names)}
        if len(self._rows) < len(names):
            twice = next(name for row, name in enumerate(names) if self._rows[name] != row)
            raise ValueError(f"{source} has two rows of the image {twice!r}; give each image one.")
        kept = [name for name in table.column_names if name not in KEYS]
        if taken := sorted(set(kept) & own_columns(kind)):
            raise ValueError(f"{source} has the column {taken[0]!r}, which the index has itself; rename it.")
        self.columns = pa.table({name: _simple(table[name], name, source) for name in kept})
        self.unused = set(self._rows)

    @classmethod
    def open(cls, source: Path, kind: str) -> "Metadata":
        """Return the table of a .csv, .tsv, .jsonl or .parquet file, for an index of images or texts.

        Raises:
            FileNotFoundError: no such file.
            ValueError: it is of another kind or damaged, has no column of keys, a key twice, a column that the index
                has itself, or one that is neither text nor numbers.
        """
        if not source.exists():
            raise FileNotFoundError(f"There is no {source}: give a table of metadata.")
        check_regular(source)
        if (reader := READERS.get(source.suffix.lower())) is None:
            raise ValueError(f"{source} is no table; give one of {', '.join(READERS)}.")
        try:
            table = reader(source)
        except pa.ArrowException as error:
            raise ValueError(f"{source} cannot be read: {str(error)[:200]}") from error
        return cls(table, source, kind)

    def take(self, ids: list[str], paths: list[str]) -> pa.Table:
        """Return the columns for some images, null where the table has none; found by id, else by path."""
        self.unused.difference_update(ids, paths)
        return self.columns.take(pa.array(self._find(ids, paths), pa.int64()))

    def knows(self, ids: list[str], paths: list[str]) -> list[bool]:
        """Return for each of some images whether the table has a row of it."""
        return [row is not None for row in self._find(ids, paths)]

    def _find(self, ids: list[str], paths: list[str]) -> list[int | None]:
        return [self._rows.get(one, self._rows.get(path)) for one, path in zip(ids, paths, strict=True)]


def _simple(column: pa.ChunkedArray, name: str, source: Path) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_boolean(kind):
        return column
    if pa.types.is_integer(kind):
        return column.cast(pa.int64())
    if pa.types.is_floating(kind):
        return column.cast(pa.float64())
    if pa.types.is_nested(kind) or pa.types.is_binary(kind):
        raise ValueError(f"{source} has the column {name!r} of {kind}; give text, numbers or true and false.")
    return column.cast(pa.string())


__all__ = ["Metadata"]
