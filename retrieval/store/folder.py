"""An index folder: rows are appended, removed and compacted, each change whole or not at all.

    manifest.json       the state; a change ends when it is renamed into place
    shards/             rows-*.parquet, removed-*.parquet (tombstones)
    faiss/, milvus.json derived from the shards, can be removed
    regions/            of the second stage

What a killed process left behind is not in the manifest; the next writer takes it away.
"""

import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...data.files.atomic import atomic_file
from ...data.files.hashing import hash_file
from ...data.files.lock import output_lock
from ...data.files.manifest import MANIFEST
from ...data.files.shard_store import reading_shard
from ...data.rows.report import BadRowError
from ..late_tokens import LateTokens, tokens_path, write_tokens
from .manifest import EmbeddedBy, IndexManifest, ShardEntry, new_uid

SHARDS = "shards"
TOKEN_COLUMNS = ("token_start", "token_count")
OF_KIND = {
    "images": {"path": pa.string(), "size": pa.int64(), "modified": pa.int64()},
    "texts": {"text": pa.string()},
}
Entries = tuple[ShardEntry, ShardEntry | None]  # of rows, and of their tokens


class DamagedShardError(ValueError):
    """A shard cannot be read; the message names it and says how to go on without it."""


@dataclass
class IndexFolder:
    """The rows of an index; `open` reads the state, `writing` holds it for changes.

    Attributes:
        folder: where it is.
        manifest: the state that was read or written last.
        skip_damaged: leave damaged shards out, as if they had no rows, in place of an error.
        damaged: file names of those that were left out.
    """

    folder: Path
    manifest: IndexManifest
    skip_damaged: bool = False
    damaged: tuple[str, ...] = ()

    @classmethod
    def open(cls, folder: Path, *, skip_damaged: bool = False) -> "IndexFolder":
        """Return an index folder.

        Raises:
            FileNotFoundError, ValueError: there is none, or its manifest is damaged.
        """
        return cls(folder, IndexManifest.read(folder), skip_damaged)

    @classmethod
    def exists(cls, folder: Path) -> bool:
        """Return whether a folder holds an index."""
        return (folder / MANIFEST).exists()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the folder for the changes of this process; the state is read anew.

        Raises:
            ValueError: another process writes, which the message names.
            OSError: the folder cannot be written into.
        """
        with output_lock(self.folder):
            if self.exists(self.folder):
                self.manifest = IndexManifest.read(self.folder)
            self._remove_unlisted()
            yield

    def append(
        self,
        rows: pa.Table,
        *,
        tokens: Sequence[np.ndarray] | None = None,
        replaced: Iterable[int] = (),
        sources: Iterable[str] = (),
    ) -> None:
        """Add rows, and remove those that they replace, in one change.

        Args:
            rows: all columns but `key`; `embedding` as halffloat. User columns that are new become null in older rows.
            tokens: of each row for late interaction, (n_i, late_dim) float16.
            replaced: keys of the rows they replace.
            sources: what is indexed, for the record.

        Raises:
            ValueError: a user column had another type before.
            OSError: the disk is full; the old state stays.
        """
        manifest, first = self.manifest, self.manifest.next_key
        columns = self.merge_columns(rows.schema)
        added = list[Entries]()
        if rows.num_rows:
            keys = pa.array(np.arange(first, first + rows.num_rows))
            added = [self._write_rows(rows.add_column(0, "key", keys), tokens)]
        tombstones, removed = self._write_tombstones(replaced)
        if not (added or tombstones):
            return
        self._commit(
            replace(
                manifest,
                columns=columns,
                shards=manifest.shards + tuple(shard for shard, _ in added),
                tokens=manifest.tokens + tuple(one for _, one in added if one is not None),
                tombstones=manifest.tombstones + tombstones,
                next_key=first + rows.num_rows,
                removals=manifest.removals + removed,
                sources=tuple(dict.fromkeys((*manifest.sources, *sources))),
            )
        )

    def remove(self, keys: Iterable[int]) -> int:
        """Remove rows and return how many there were; keys that are not there, or twice, count once or not at all."""
        alive = self.read(["key"])["key"].to_numpy()
        tombstones, removed = self._write_tombstones(np.intersect1d(alive, np.fromiter(keys, np.int64)))
        if removed:
            manifest = self.manifest
            self._commit(
                replace(manifest, tombstones=manifest.tombstones + tombstones, removals=manifest.removals + removed)
            )
        return removed

    def record(self, **changes: str | tuple[str, ...] | None) -> None:
        """Replace attributes of the manifest that say nothing about rows."""
        if (changed := replace(self.manifest, **changes)) != self.manifest:  # type: ignore[arg-type]
            self._commit(changed)

    def compact(self, *, max_rows: int = 50_000) -> None:
        """Write the rows that are not removed into shards of `max_rows`, and take the old ones away.

        Raises:
            DamagedShardError: a shard cannot be read; with `skip_damaged` its rows are given up.
        """
        old, tokens = self.manifest, self.open_tokens()
        written, waiting = list[Entries](), list[pa.Table]()

        def write(rows: pa.Table) -> None:
            if tokens is not None:
                kept = [tokens[key] for key in rows["key"].to_pylist()]
                written.append(self._write_rows(rows.drop(list(TOKEN_COLUMNS)), kept))
            else:
                written.append(self._write_rows(rows))

        for table in self.read_shards():
            waiting = [pa.concat_tables([*waiting, table])]
            while waiting[0].num_rows >= max_rows:
                write(waiting[0].slice(0, max_rows))
                waiting = [waiting[0].slice(max_rows)]
        for rows in waiting:
            if rows.num_rows:
                write(rows)
        # What was given up may live on in what is derived: another uid, and that is made anew.
        uid = new_uid() if self.damaged else old.uid
        self._commit(
            replace(
                old,
                shards=tuple(shard for shard, _ in written),
                tokens=tuple(one for _, one in written if one is not None),
                tombstones=(),
                folded=old.removals,
                uid=uid,
            )
        )
        self._remove_unlisted()

    def read(self, columns: Sequence[str] | None = None, *, first_key: int = 0) -> pa.Table:
        """Return the rows that are not removed, from a key on, in the order of their keys."""
        wanted = columns if columns is None or "key" in columns else ["key", *columns]
        tables = [table for table in self.read_shards(wanted, first_key=first_key) if table.num_rows]
        table = pa.concat_tables(tables or [self.schema.empty_table()], promote_options="default")
        return table if columns is None else table.select(columns)

    def read_shards(self, columns: Sequence[str] | None = None, *, first_key: int = 0) -> Iterator[pa.Table]:
        """Yield the rows of each shard that are not removed, from a key on; all columns by default.

        Raises:
            DamagedShardError: a shard cannot be read, and `skip_damaged` is off.
        """
        removed = pa.array(self.removed_keys())
        for entry in self.manifest.shards:
            if entry.last_key < first_key or (table := self._read_rows(entry, columns)) is None:
                continue
            keys = table["key"]
            mask = pa.compute.and_(
                pa.compute.greater_equal(keys, first_key), pa.compute.invert(pa.compute.is_in(keys, removed))
            )
            yield table.filter(mask)

    def removed_keys(self) -> np.ndarray:
        """Return the keys of removed rows that still lie in shards: (n,) int64."""
        found = [np.empty(0, np.int64)]
        for entry in self.manifest.tombstones:
            try:
                with reading_shard(path := self.path(entry)):
                    found.append(pq.read_table(path, page_checksum_verification=True)["key"].to_numpy())
            except BadRowError as error:
                self._refuse(entry, error.found)
        return np.concatenate(found)

    @property
    def base(self) -> Path:
        """Folder that the relative paths of images start from, absolute."""
        return Path(os.path.abspath(self.folder / self.manifest.base))

    @property
    def schema(self) -> pa.Schema:
        """Columns of the rows."""
        manifest = self.manifest
        own = [("key", pa.int64()), ("id", pa.string()), ("embedding", pa.list_(pa.float16(), manifest.dim))]
        own += OF_KIND[manifest.kind].items()
        if manifest.late_dim is not None:
            own += [(name, pa.int64()) for name in TOKEN_COLUMNS]
        return pa.schema(own + [(name, pa.type_for_alias(kind)) for name, kind in manifest.columns.items()])

    def path(self, entry: ShardEntry) -> Path:
        """Return where a shard is."""
        return self.folder / SHARDS / entry.file

    def merge_columns(self, schema: pa.Schema) -> dict[str, str]:
        """Return the user's columns of the index and of new rows.

        Raises:
            ValueError: a column has another type there.
        """
        merged, own = dict(self.manifest.columns), own_columns(self.manifest.kind)
        for field in schema:
            if field.name in own:
                continue
            if (kind := merged.setdefault(field.name, str(field.type))) != str(field.type):
                raise ValueError(
                    f"The column {field.name!r} holds {field.type} here and {kind} in the index; write it as {kind}, "
                    "or give it another name."
                )
        return merged

    def open_tokens(self) -> LateTokens | None:
        """Return the tokens of the rows for late interaction, None if the index has none.

        Raises:
            FileNotFoundError, ValueError: a file of them is missing or damaged, and `skip_damaged` is off.
        """
        if self.manifest.late_dim is None:
            return None
        left_out = {Path(name).with_suffix("").stem for name in self.damaged}
        return LateTokens.open(
            self.path(entry) for entry in self.manifest.shards if Path(entry.file).stem not in left_out
        )

    def check_model(self, found: EmbeddedBy) -> None:
        """Raise ValueError if embeddings of another model, or of another detector, are to be joined with these."""
        made_by = self.manifest.embedded_by
        for what, wanted, is_now in (
            (f"the model {made_by.model}", made_by.model_hash, found.model_hash),
            (f"the processor of {made_by.model}", made_by.processor_hash, found.processor_hash),
            (f"the detector {made_by.detector}", made_by.detector_hash, found.detector_hash),
        ):
            if wanted != is_now:
                given = found.detector if what.startswith("the detector") else found.model
                raise ValueError(
                    f"{self.folder} was made by {what} with the hash {wanted}; {given} has {is_now}. Give that one, or "
                    "build another index."
                )

    def check_files(self) -> None:
        """Raise DamagedShardError if a file is missing or has another size; with `skip_damaged`, leave it out."""
        for entry in self.find_damaged():
            self._refuse(entry, f"{self.path(entry)} is missing or cut short")

    def find_damaged(self, *, whole: bool = False) -> list[ShardEntry]:
        """Return the files that are missing or of another size, with `whole` of another content."""
        return [
            entry
            for entry in self.manifest.files
            if not (path := self.path(entry)).is_file()
            or path.stat().st_size != entry.size
            or (whole and hash_file(path) != entry.sha256)
        ]

    def _read_rows(self, entry: ShardEntry, columns: Sequence[str] | None) -> pa.Table | None:
        path = self.path(entry)
        try:
            with reading_shard(path):
                names = set(pq.read_schema(path).names)
                wanted = None if columns is None else [name for name in columns if name in names]
                table = pq.read_table(path, columns=wanted, page_checksum_verification=True)
                if table.num_rows != entry.rows:
                    raise ValueError(f"it has {table.num_rows} rows and not {entry.rows}")
        except BadRowError as error:
            self._refuse(entry, error.found)
            return None
        for name in columns or self.schema.names:
            if name not in table.column_names:  # a column that came later
                table = table.append_column(name, pa.nulls(table.num_rows, self.schema.field(name).type))
        return table.select(list(columns or self.schema.names))

    def _refuse(self, entry: ShardEntry, found: str) -> None:
        """Leave a shard out if that is allowed, else raise; a tombstone never: what was removed would come back."""
        found = " ".join(found.split())
        if entry in self.manifest.tombstones:
            raise DamagedShardError(f"Tombstone {found}; put a copy of the file back.")
        if not self.skip_damaged:
            raise DamagedShardError(
                f"Shard {found}; its {entry.rows} rows are lost unless a copy is put back. The rest can be used with "
                "--skip-damaged."
            )
        self.damaged = tuple(dict.fromkeys((*self.damaged, entry.file)))

    def _write_rows(self, rows: pa.Table, tokens: Sequence[np.ndarray] | None = None) -> Entries:
        path = self.folder / SHARDS / f"rows-{uuid.uuid4().hex}.parquet"
        if tokens is None or self.manifest.late_dim is None:
            return _write_table(path, rows), None
        for name, places in zip(TOKEN_COLUMNS, write_tokens(path, tokens, dim=self.manifest.late_dim), strict=True):
            rows = rows.append_column(name, pa.array(places))
        beside, shard = tokens_path(path), _write_table(path, rows)
        return shard, replace(shard, file=beside.name, size=beside.stat().st_size, sha256=hash_file(beside))

    def _write_tombstones(self, keys: Iterable[int]) -> tuple[tuple[ShardEntry, ...], int]:
        removed = np.unique(np.fromiter(keys, np.int64))
        if not len(removed):
            return (), 0
        path = self.folder / SHARDS / f"removed-{uuid.uuid4().hex}.parquet"
        return (_write_table(path, pa.table({"key": removed})),), len(removed)

    def _commit(self, manifest: IndexManifest) -> None:
        manifest.write(self.folder)
        self.manifest = manifest

    def _remove_unlisted(self) -> None:
        listed = {entry.file for entry in self.manifest.files}
        for path in (self.folder / SHARDS).glob("*"):
            if path.name not in listed:
                path.unlink(missing_ok=True)


def own_columns(kind: str) -> set[str]:
    """Return the columns that an index of images or texts has itself: no column of a user can have their names."""
    return {"key", "id", "embedding", *OF_KIND[kind], *TOKEN_COLUMNS}


def _write_table(path: Path, table: pa.Table) -> ShardEntry:
    with atomic_file(path) as unfinished:
        pq.write_table(table, unfinished, compression="zstd", write_page_checksum=True)
        sha256 = hash_file(unfinished)
    return ShardEntry(path.name, table.num_rows, path.stat().st_size, sha256, pa.compute.max(table["key"]).as_py())


__all__ = ["TOKEN_COLUMNS", "DamagedShardError", "IndexFolder", "own_columns"]
