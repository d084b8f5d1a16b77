"""The manifest of an index folder: which shards and tombstones are its state, and what its embeddings were made by.

*key*: the number of a row, given once and never again. *tombstone*: a file with keys of rows that are removed.
"""

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path

from ...data.files.json_files import read_json, write_json
from ...data.files.manifest import MANIFEST

FORMAT = 1
KINDS = ("images", "texts")
PACKAGES = ("wenlan", "pyarrow", "torch", "transformers")


@dataclass(frozen=True)
class ShardEntry:
    """A shard of rows, or a file of tombstones.

    Attributes:
        file: its name in `shards/`.
        rows: how many it holds.
        size: bytes of the file.
        sha256: of the file, 64 hexadecimal digits.
        last_key: the largest key in it.
    """

    file: str
    rows: int
    size: int
    sha256: str
    last_key: int


@dataclass(frozen=True)
class EmbeddedBy:
    """The makers of the embeddings: names as they were given, and hashes, by which another model is refused."""

    model: str
    model_hash: str
    processor_hash: str
    detector: str | None = None
    detector_hash: str | None = None


@dataclass(frozen=True)
class IndexManifest:
    """State of an index: replaced as a whole by every change.

    Attributes:
        kind: of the rows, "images" or "texts".
        embedded_by: the model.
        dim: d of the embeddings.
        base: the folder that relative paths of images start from, itself relative to the index folder.
        columns: name and type, as pyarrow writes it, of the user's metadata.
        shards: in the order in which they came; a later row of the same id never occurs while the earlier one lives.
        tombstones: keys of removed rows that still lie in shards.
        tokens: files of tokens for late interaction, beside `shards`, one each; none without it.
        next_key: of the next row.
        removals: rows that were ever removed.
        folded: of `removals`, those that compaction took out of the shards.
        uid: a random number, by which what is derived from another index is known.
        backend: of the vectors, a name of `BACKENDS`.
        uri: of the backend's server, None for faiss.
        late_dim: numbers a token for late interaction, None without.
        sources: what was indexed, as given.
        region_model: folder or hub id of the detector that made `regions`, None without a second stage.
        regions: folders below `regions/`, later ones win.
        versions: of the packages that began the folder.
        format: of this file.
    """

    kind: str
    embedded_by: EmbeddedBy
    dim: int
    base: str
    columns: Mapping[str, str]
    shards: tuple[ShardEntry, ...] = ()
    tombstones: tuple[ShardEntry, ...] = ()
    tokens: tuple[ShardEntry, ...] = ()
    next_key: int = 0
    removals: int = 0
    folded: int = 0
    uid: int = 0
    backend: str = "faiss"
    uri: str | None = None
    late_dim: int | None = None
    sources: tuple[str, ...] = ()
    region_model: str | None = None
    regions: tuple[str, ...] = ()
    versions: Mapping[str, str] | None = None
    format: int = FORMAT

    @property
    def files(self) -> tuple[ShardEntry, ...]:
        """Everything that the state is made of."""
        return (*self.shards, *self.tombstones, *self.tokens)

    @property
    def rows(self) -> int:
        """Number of rows that are not removed."""
        return sum(shard.rows for shard in self.shards) - sum(entry.rows for entry in self.tombstones)

    @classmethod
    def begin(
        cls, *, kind: str, embedded_by: EmbeddedBy, dim: int, base: str, late_dim: int | None = None
    ) -> "IndexManifest":
        """Return the manifest of an empty index."""
        versions = {name: version(name) for name in PACKAGES}
        return cls(kind, embedded_by, dim, base, {}, uid=new_uid(), late_dim=late_dim, versions=versions)

    @classmethod
    def read(cls, folder: Path) -> "IndexManifest":
        """Return the manifest of a folder.

        Raises:
            FileNotFoundError: there is no index.
            ValueError: it is damaged, which the message says, or of a later version.
        """
        path = folder / MANIFEST
        if not path.exists():
            raise FileNotFoundError(
                f"There is no index in {folder}: it has no {MANIFEST}. Make one: wenlan index build IMAGES --output "
                f"{folder}"
            )
        found = read_json(path)
        try:
            return cls._from_json(found)
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise ValueError(
                f"{path} is no manifest of an index ({type(error).__name__}: {str(error)[:200]}). The embeddings are "
                f"in {folder / 'shards'}; put a copy of the file back, or build into another folder."
            ) from error

    def write(self, folder: Path) -> None:
        """Make this the state of a folder: readers see the old one or this one."""
        write_json(folder / MANIFEST, asdict(self))

    @classmethod
    def _from_json(cls, found: object) -> "IndexManifest":
        if not isinstance(found, dict):
            raise TypeError(f"it holds a {type(found).__name__} in place of an object")
        if (number := found.get("format")) != FORMAT:
            raise ValueError(f"format {number!r}; this version of wenlan reads {FORMAT}")
        if unknown := found.keys() - {field.name for field in fields(cls)}:
            raise ValueError(f"unknown {', '.join(sorted(unknown))}")
        values = found | {
            "embedded_by": EmbeddedBy(**found["embedded_by"]),
            "shards": _entries(found["shards"]),
            "tombstones": _entries(found["tombstones"]),
            "tokens": _entries(found["tokens"]),
            "sources": tuple(found["sources"]),
            "regions": tuple(found["regions"]),
        }
        manifest = cls(**values)
        counts = ("dim", "next_key", "removals", "folded", "uid")
        if wrong := [name for name in counts if not _is_count(getattr(manifest, name))]:
            raise ValueError(f"{wrong[0]} is {getattr(manifest, wrong[0])!r}")
        if manifest.kind not in KINDS or manifest.rows < 0:
            raise ValueError(f"{manifest.rows} rows of kind {manifest.kind!r}")
        return manifest


def new_uid() -> int:
    """Return a random number of 63 bits."""
    return uuid.uuid4().int >> 65


def _entries(found: list[dict]) -> tuple[ShardEntry, ...]:
    entries = tuple(ShardEntry(**entry) for entry in found)
    for entry in entries:
        if not all(map(_is_count, (entry.rows, entry.size, entry.last_key))) or Path(entry.file).name != entry.file:
            raise ValueError(f"entry {entry}")
    return entries


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


__all__ = ["KINDS", "EmbeddedBy", "IndexManifest", "ShardEntry", "new_uid"]
