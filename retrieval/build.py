"""Build an index, and add to one: embed what is new or was changed, a shard at a time.

A run that was stopped or killed is resumed by the same command: every finished shard is in the index already.
"""

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from tqdm.auto import tqdm

from ..data.rows.report import BadRowError, BadRowReport, TooManyBadRowsError, check_fraction
from ..pipelines.workers.run_tasks import run_tasks
from .embed_worker import Embedded, EmbedWorker
from .store.folder import TOKEN_COLUMNS, IndexFolder
from .store.index_regions import RegionSource, extract_index_regions
from .store.manifest import EmbeddedBy, IndexManifest
from .store.metadata import Metadata
from .store.sources import IndexSource, SourceRow
from .vector_index import check_backend, update_vector_index

REPLACED = "image replaced"  # while it was embedded
DUPLICATE = "duplicate image"


@dataclass(frozen=True)
class BuildOptions:
    """Settings of a build.

    Attributes:
        batch_size: images or sentences at a time.
        shard_size: of them a shard, which is also what a kill can cost.
        max_bad_fraction: a greater fraction left out is an error; what was embedded stays.
        num_proc: processes; None: as many as there are cores.
        ray: address of a Ray cluster, which embeds in place of processes.
    """

    batch_size: int = 32
    shard_size: int = 256
    max_bad_fraction: float = 0.1
    num_proc: int | None = None
    ray: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for numbers out of range."""
        check_fraction(self.max_bad_fraction)
        for name in ("batch_size", "shard_size", "num_proc"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be 1 or more.")


def build_index(
    source: Path,
    output: Path,
    *,
    model: str | None = None,
    detector: str | None = None,
    texts: bool = False,
    encoding: str | None = None,
    text_column: str = "text",
    split: str | None = None,
    image_root: Path | None = None,
    metadata: Path | None = None,
    regions: str | None = None,
    backend: str | None = None,
    uri: str | None = None,
    options: BuildOptions | None = None,
) -> BadRowReport:
    """Make an index of a source, or bring one up to date: what is in it unchanged is not embedded again.

    Rows whose images are gone stay until they are removed.

    Args:
        source: a folder of images, a list of them (see `list_images`), or an image; with `texts` a text file of
            sentences, or a file of pairs, whose captions are read.
        output: the index folder.
        model: folder or hub id of a BriVL model; by default the one that the folder was begun with.
        detector: of the boxes that the model looks at (BriVL 1.0); by default the folder's.
        texts: the source holds sentences.
        encoding, text_column, split: of sentences, see `embed_to_parquet`.
        image_root: of a list, see `list_images`.
        metadata: a .csv, .tsv, .jsonl or .parquet file with further columns, joined by `id` or `path`.
        regions: folder of the MLMM of a second stage, see `Reranker`, or of a region detector; by default the index's.
        backend, uri: of the vectors, see `BACKENDS`; by default the folder's, or faiss.
        options: batch size and so on.

    Returns:
        Counts of the rows of the source that are in the index and of those left out, by cause.

    Raises:
        FileNotFoundError: no such source or model.
        ValueError: the folder was begun with another model, which the message names with both hashes, or with rows of
            another kind; another process writes into it; metadata do not fit.
        OSError: the folder cannot be written into, or the disk is full; what is in the index stays.
        TooManyBadRowsError: nothing, or too little, could be embedded.
    """
    options, kind = options or BuildOptions(), "texts" if texts else "images"
    if texts and regions is not None:
        raise ValueError(f"Sentences have no regions; leave them out, or index images in place of {source}.")
    known = IndexFolder.open(output).manifest if IndexFolder.exists(output) else None
    if known is None and model is None:
        raise ValueError(f"There is no index in {output} yet; say which --model embeds {source}.")
    if known is not None:
        model, detector = model or known.embedded_by.model, detector or known.embedded_by.detector
        regions = regions or known.region_model
        if known.kind != kind:
            raise ValueError(f"{output} is an index of {known.kind}; put the {kind} of {source} into another.")
        backend = backend or known.backend
        uri = uri or (known.uri if backend == known.backend else None)
    check_backend(backend or "faiss", uri)
    base = Path.cwd() if known is None else IndexFolder(output, known).base
    found = (
        IndexSource.texts(source, encoding=encoding, text_column=text_column, split=split)
        if texts
        else IndexSource.images(source, base, image_root=image_root)
    )
    source_of_regions = None if regions is None else RegionSource.open(regions)
    table = None if metadata is None else Metadata.open(metadata, kind)
    worker = EmbedWorker(str(model), detector=detector, batch_size=options.batch_size, with_tokens=True)
    made_by = EmbeddedBy(
        str(model),
        str(worker.settings["model"]),
        str(worker.settings["processor"]),
        detector,
        worker.settings["detector"],
    )
    manifest = known or IndexManifest.begin(
        kind=kind, embedded_by=made_by, dim=worker.dim, late_dim=worker.late_dim, base=os.path.relpath(base, output)
    )
    folder = IndexFolder(output, manifest)
    with folder.writing():
        folder.check_model(made_by)
        report = _Build(folder, found, table, options).run(worker)
        if source_of_regions is not None:
            extract_index_regions(folder, source_of_regions, num_proc=options.num_proc, ray=options.ray)
        folder.record(region_model=regions, backend=backend or "faiss", uri=uri)
        update_vector_index(folder)
    report.raise_above(options.max_bad_fraction)
    return report


@dataclass
class _Build:
    """Bring an index up to date with a source."""

    folder: IndexFolder
    found: IndexSource
    table: Metadata | None
    options: BuildOptions

    def run(self, worker: EmbedWorker) -> BadRowReport:
        """Embed all that is pending, a shard at a time, and return the counts.

        Raises:
            TooManyBadRowsError: no row of the source is in the index.
        """
        report = BadRowReport(self.found.source)
        for place, error in self.found.bad:
            report.add_bad_row(error, place)
        report.not_looked_at.update(self.found.not_looked_at)
        pending = self._pending(report)
        size = self.options.shard_size
        pieces = [pending[start : start + size] for start in range(0, len(pending), size)]
        tasks = [[(row.id, row.item) for row, _ in piece] for piece in pieces]
        unit = " sentences" if self.folder.manifest.kind == "texts" else " images"
        total = len(self.found.rows)
        bar = tqdm(desc="index", total=total, initial=total - len(pending), unit=unit, disable=None)
        done = run_tasks(worker.opener(), tasks, num_proc=self.options.num_proc, ray=self.options.ray)
        with bar, closing(done):  # the processes end with this block
            for number, embedded in done:
                self._append(pieces[number], embedded, report)
                bar.update(len(pieces[number]))
        if self.table is not None:
            self._update_metadata(self.table)
            if unused := self.table.unused:
                report.add_repair("metadata without image", min(unused), "no such image", number=len(unused))
        if not report.rows_kept:
            raise TooManyBadRowsError(f"Nothing in {self.found.source} can be embedded.\n{report}")
        return report

    def _pending(self, report: BadRowReport) -> list[tuple[SourceRow, int | None]]:
        """Return the rows that are new or changed, these with the key they replace; count the others."""
        is_text = self.folder.manifest.kind == "texts"
        names = ["key", "id"] if is_text else ["key", "id", "path", "size", "modified"]
        columns = self.folder.read(names).to_pydict()
        place = {name: position for position, name in enumerate(columns["id"])}
        pending: list[tuple[SourceRow, int | None]] = []
        for row in self.found.rows:
            position = place.get(row.id)
            if position is None:
                pending.append((row, None))
                continue
            before = (None, 0, 0) if is_text else tuple(columns[name][position] for name in names[2:])
            if before == (row.path, row.size, row.modified):
                report.keep_rows()
            elif before[0] != row.path and (self.folder.base / before[0]).exists():
                error = BadRowError(DUPLICATE, f"{row.path} and {before[0]} of the index have the id {row.id!r}")
                report.add_bad_row(error, row.id)
            else:
                pending.append((row, columns["key"][position]))
        return pending

    def _append(self, piece: Sequence[tuple[SourceRow, int | None]], embedded: Embedded, report: BadRowReport) -> None:
        """Write a shard; an image that was changed and cannot be embedded any more leaves the index."""
        for place, error in embedded.bad:
            report.add_bad_row(error, place)
        rows = {row.id: row for row, _ in piece}
        kept = [rows[name] for name in embedded.ids]
        report.keep_rows(len(kept))
        for row in kept:
            if row.path is not None and not _is_unchanged(row):
                report.add_repair(REPLACED, row.id, "it was written while it was read; run again")
        self.folder.append(
            self._table(kept, embedded.embeddings),
            tokens=embedded.tokens,
            replaced=[key for _, key in piece if key is not None],
            sources=[str(self.found.source)],
        )

    def _table(self, rows: Sequence[SourceRow], embeddings: np.ndarray) -> pa.Table:
        dim = self.folder.manifest.dim
        values = embeddings.astype(np.float16).ravel()
        columns = {
            "id": pa.array([row.id for row in rows], pa.string()),
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(values), dim),
        }
        if self.folder.manifest.kind == "texts":
            columns["text"] = columns["id"]
        else:
            columns["path"] = pa.array([row.path for row in rows], pa.string())
            columns["size"] = pa.array([row.size for row in rows], pa.int64())
            columns["modified"] = pa.array([row.modified for row in rows], pa.int64())
        made = pa.table(columns)
        if self.table is None:
            return made
        found = self.table.take([row.id for row in rows], [row.path or "" for row in rows])
        for name in found.column_names:
            made = made.append_column(name, found[name])
        return made

    def _update_metadata(self, table: Metadata) -> None:
        """Write rows again whose metadata are no longer as in the table; their embeddings are kept."""
        self.folder.merge_columns(table.columns.schema)
        stored = self.folder.open_tokens()
        sourced = pa.array([row.id for row in self.found.rows], pa.string())
        for rows in self.folder.read_shards():
            rows = rows.filter(pa.compute.is_in(rows["id"], sourced))
            ids, paths = rows["id"].to_pylist(), rows["path" if "path" in rows.column_names else "id"].to_pylist()
            found = table.take(ids, paths)
            had = [name for name in found.column_names if name in rows.column_names]
            pairs = zip(table.knows(ids, paths), rows.select(had).to_pylist(), found.to_pylist(), strict=True)
            changed = pa.array([is_known and old != new for is_known, old, new in pairs], pa.bool_())
            if pa.compute.any(changed).as_py():
                keys = rows["key"].filter(changed).to_pylist()
                kept = rows.filter(changed).drop([*had, "key"])
                tokens = None
                if stored is not None:
                    kept, tokens = kept.drop(list(TOKEN_COLUMNS)), [stored[key] for key in keys]
                for name in found.column_names:
                    kept = kept.append_column(name, found[name].filter(changed))
                self.folder.append(kept, tokens=tokens, replaced=keys)


def _is_unchanged(row: SourceRow) -> bool:
    try:
        status = os.stat(row.item)
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (row.size, row.modified)


__all__ = ["BuildOptions", "build_index"]
