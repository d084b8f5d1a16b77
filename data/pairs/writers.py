"""Files of pairs, written row by row: JSON lines where images are paths, parquet where they are bytes."""

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from .splits import split_column

if TYPE_CHECKING:
    from pyarrow import Schema

BATCH_BYTES = 64 << 20  # of images in a row group
BATCH_ROWS = 1_000


class _JsonLinesWriter:
    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, fields: dict) -> None:
        try:
            line = json.dumps(fields, ensure_ascii=False).encode()
        except UnicodeEncodeError:  # a lone surrogate in a field that is neither image nor text
            line = json.dumps(fields).encode()
        self._file.write(line + b"\n")

    def close(self) -> None:
        self._file.close()


class _ParquetWriter:
    def __init__(self, path: Path, schema: "Schema") -> None:
        import pyarrow.parquet as pq

        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._rows: list[dict] = []
        self._num_bytes = 0

    def write(self, fields: dict) -> None:
        self._rows.append(fields)
        self._num_bytes += sum(len(v["bytes"] or b"") for v in fields.values() if isinstance(v, dict))
        if self._num_bytes >= BATCH_BYTES or len(self._rows) >= BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        rows, self._rows, self._num_bytes = self._rows, [], 0
        self._writer.write_batch(pa.RecordBatch.from_pylist(rows, self._schema))

    def close(self) -> None:
        try:
            self._flush()
        finally:
            self._writer.close()


def open_pair_writer(path: Path, schema: "Schema | None") -> "closing[_JsonLinesWriter | _ParquetWriter]":
    """Return a writer of a new file, parquet with a schema, JSON lines without; it takes rows as `read_rows` gives."""
    return closing(_JsonLinesWriter(path) if schema is None else _ParquetWriter(path, schema))


def schema_with_images(file: Path, columns: tuple[str, str]) -> "Schema | None":
    """Return the schema for the rows of a parquet file whose images are bytes; None for a file that holds paths.

    It carries the `datasets` features, so that `load_dataset("parquet", ...)` shows images.
    """
    if file.suffix.lower() != ".parquet":
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = {field.name: field for field in pq.read_schema(file)}
    image, text = (fields.get(column) for column in columns)
    if image is None or text is None or pa.types.is_string(image.type) or pa.types.is_large_string(image.type):
        return None
    from datasets import Features, Image, List, Value

    captions = List(Value("string")) if pa.types.is_nested(text.type) else Value("string")
    features = {columns[0]: Image(), columns[1]: captions}
    if (split := split_column(fields)) is not None:
        features[split] = Value("string")
    if "boxes" in fields:
        features |= Features.from_arrow_schema(pa.schema([fields["boxes"]]))
    return Features(features).arrow_schema


__all__ = ["open_pair_writer", "schema_with_images"]
