"""Labelled images, streamed in a stable order: from class folders, shards, or a data set with two columns.

*label*: what a source says of an image: the name of its folder, a value of a column, or the .cls of a tar file.
"""

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, Union

from ..files.dataset_cache import dataset_cache
from ..files.hashing import DIGITS, hash_ends
from ..files.image_listing import list_images
from ..files.model_folder import is_local
from ..pairs.shards import KINDS, find_shards, first_fields, read_shard
from ..rows.report import BadRowError
from ..rows.validation import path_below_root

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

TOLD = 5  # labels or classes that a message names
OUTSIDE = "images outside of class folders"

Source: TypeAlias = Union[str, Path, "Dataset"]
Row = tuple[str, object, object]  # name, label, and the image: a path, bytes, {"bytes", "path"}, or why there is none


@dataclass(frozen=True)
class LabelledImage:
    """One image of a source.

    Attributes:
        name: of the image in its source.
        label: its class, counted among those that have images; None where the row cannot be read.
        image: a path, encoded bytes, or why there is neither.
    """

    name: str
    label: int | None
    image: str | bytes | BadRowError


class LabelledImages:
    """The images of a source, to be iterated over as often as one likes; they are never held.

    Their labels are read once before.

    Args:
        source: a folder of class folders, ROOT/<class id>/*.jpg; a folder, a file or a pattern of .tar or .parquet
            shards (see `find_shards`); a data set, the folder of a saved one, or its id on the hub.
        class_ids: of the class list. A number in a column of class labels stands for the name that the column gives it,
            if such names are ids of classes; else for the class whose id is the number.
        image_column, label_column: of shards and data sets; the label is by default "label", in tar files "cls".
        split: of a data set with several.
        limit: take so many images, evenly spaced.

    Attributes:
        kept: indices of the classes that have images.
        without_images: ids of the classes that have none.
        count: how many images are taken.
        digest: of all names, labels and files.
        not_looked_at: what a folder holds beside the images, by kind.

    Raises:
        FileNotFoundError: no such source.
        ValueError: labels that are no classes, no image at all, a damaged shard, a column or a split that is not there.
    """

    def __init__(
        self,
        source: Source,
        class_ids: Sequence[str],
        *,
        image_column: str = "image",
        label_column: str | None = None,
        split: str | None = None,
        limit: int | None = None,
    ) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"limit is {limit}; take 1 image or more.")
        self.source, self.limit = source if isinstance(source, str | Path) else "the data set", limit
        self._rows = _open(source, image_column, label_column, split)
        self.not_looked_at = self._rows.not_looked_at
        names, by_id = self._rows.names, {one: index for index, one in enumerate(class_ids)}
        self._names = names if not by_id.keys().isdisjoint(names) else ()
        digest, found = hashlib.sha256(), Counter(dict.fromkeys(self._rows.empty, 0))
        for shard in self._rows.files:
            digest.update(hash_ends(Path(shard)).encode())
        self._total = 0
        for name, label, image in self._rows.read(with_images=False):
            self._check_shard(name, image)
            self._total += 1
            content = hash_ends(Path(image)) if isinstance(image, str) else ""
            digest.update(f"{name}\0{label}\0{content}\0".encode("utf-8", "surrogatepass"))
            if not isinstance(image, BadRowError):
                found[self._class_id(label)] += 1
        if unknown := [one for one in found if one not in by_id]:
            shown = ", ".join(map(repr, unknown[:TOLD])) + (", ..." if len(unknown) > TOLD else "")
            raise ValueError(
                f"{self.source} has {len(unknown)} labels that are no class ids of the list: {shown}. Add their rows, "
                f"or take their images away; ids of the list are {', '.join(list(by_id)[:TOLD])}."
            )
        if not found.total():
            raise ValueError(
                f"{self.source} holds no labelled image; give a folder of class folders, such as ROOT/n01440764/1.jpg."
            )
        self.kept = [index for index, one in enumerate(class_ids) if found[one]]
        self.without_images = [one for one in class_ids if not found[one]]
        if self.without_images:
            shown = ", ".join(self.without_images[:TOLD]) + (", ..." if len(self.without_images) > TOLD else "")
            logger.warning(
                "%s: %d of %d classes have no image and are left out: %s",
                self.source, len(self.without_images), len(by_id), shown,
            )  # fmt: skip
        self._labels = {class_ids[index]: label for label, index in enumerate(self.kept)}
        self.count = self._total if limit is None else min(limit, self._total)
        self.digest = digest.hexdigest()[:DIGITS]

    def __iter__(self) -> Iterator[LabelledImage]:
        """Yield the images that are taken, in the order of the source.

        Raises:
            ValueError: a shard turns out to be damaged.
        """
        for place, (name, label, image) in enumerate(self._rows.read(with_images=True)):
            if place * self.count // self._total == (place + 1) * self.count // self._total:
                continue  # beyond the limit
            self._check_shard(name, image)
            try:
                if isinstance(image, BadRowError):
                    raise image
                stored = _stored_image(image, self._rows.root)
            except BadRowError as error:
                yield LabelledImage(name, None, error)
            else:
                yield LabelledImage(name, self._labels[self._class_id(label)], stored)

    def _class_id(self, label: object) -> str:
        if isinstance(label, int) and 0 <= label < len(self._names):
            return self._names[label]
        return str(label).strip()

    def _check_shard(self, name: str, image: object) -> None:
        if isinstance(image, BadRowError) and image.cause == "broken shard":  # nobody knows how much is lost
            raise ValueError(image.describe(self.source, name))


class _Rows(Protocol):
    """The rows of a source.

    Attributes:
        names: of its labels, where these are numbers.
        empty: labels that may be without rows.
        files: shards.
        root: folder of relative paths.
        not_looked_at: as of `LabelledImages`.
    """

    names: Sequence[str]
    empty: Sequence[str]
    files: Sequence[str]
    root: Path
    not_looked_at: Counter[str]

    def read(self, *, with_images: bool) -> Iterator[Row]: ...


@dataclass
class _ClassFolders:
    root: Path
    names: Sequence[str] = ()
    files: Sequence[str] = ()
    not_looked_at: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.root = Path(os.path.abspath(self.root))
        folders = (one.name for one in os.scandir(self.root) if one.is_dir() and not one.name.startswith("."))
        self.empty: Sequence[str] = sorted(folders)
        images = list_images(self.root, ignored=self.not_looked_at)
        self._images = [(name, path) for name, path in images if "/" in name]
        if outside := len(images) - len(self._images):
            self.not_looked_at[OUTSIDE] += outside

    def read(self, *, with_images: bool) -> Iterator[Row]:
        for name, path in self._images:
            yield name, name.partition("/")[0], str(path)


@dataclass
class _Shards:
    files: Sequence[str]
    columns: tuple[str, str]
    empty: Sequence[str] = ()
    not_looked_at: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.root = Path(os.path.commonpath([os.path.dirname(os.path.abspath(shard)) for shard in self.files]))
        self.names: Sequence[str] = ()
        if self.files[0].endswith(".parquet"):
            first_fields(self.files[0], self.columns)  # raises for a column that is not there
            self.names = _class_labels(self.files[0], self.columns[1])

    def read(self, *, with_images: bool) -> Iterator[Row]:
        image, label = self.columns
        for shard in self.files:
            for key, fields in read_shard(shard, self.columns, with_images=with_images):
                name = f"{os.path.relpath(shard, self.root)}/{key}"
                if not isinstance(fields, BadRowError) and None in (fields.get(image), fields.get(label)):
                    fields = BadRowError("missing field", f"no {image!r} or no {label!r}")
                yield (name, None, fields) if isinstance(fields, BadRowError) else (name, fields[label], fields[image])


@dataclass
class _Columns:
    dataset: "Dataset"
    columns: tuple[str, str]
    root: Path = field(default_factory=Path.cwd)
    empty: Sequence[str] = ()
    files: Sequence[str] = ()
    not_looked_at: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        from datasets import Image

        image, label = self.columns
        if absent := {image, label} - set(self.dataset.column_names):
            raise ValueError(
                f"The data set has no column {', '.join(sorted(absent))}, only {', '.join(self.dataset.column_names)}; "
                "give --columns IMAGE LABEL."
            )
        self.names: Sequence[str] = getattr(self.dataset.features[label], "names", ())
        self._images = self.dataset.select_columns([image, label]).cast_column(image, Image(decode=False))

    def read(self, *, with_images: bool) -> Iterator[Row]:
        image, label = self.columns
        for number, row in enumerate(self._images if with_images else self._images.select_columns(label), start=1):
            missing = row[label] is None or (with_images and row[image] is None)
            yield str(number), row[label], BadRowError("missing field", "none") if missing else row.get(image)


def _open(source: Source, image_column: str, label_column: str | None, split: str | None) -> _Rows:
    columns = (image_column, label_column or "label")
    if not isinstance(source, str | Path):
        return _Columns(source, columns)
    path = Path(source)
    if any((path / name).is_file() for name in ("dataset_info.json", "dataset_dict.json")):
        return _Columns(_load_dataset(path, split), columns)
    has_shards = path.suffix.lower() in KINDS or (
        path.is_dir() and any(next(path.glob(f"*{one}"), "") for one in KINDS)
    )
    if path.is_dir() and not has_shards:
        rows: _Rows = _ClassFolders(path)
    elif has_shards:
        shards = find_shards(source)
        is_tar = shards[0].lower().endswith(".tar")
        rows = _Shards(shards, (image_column, label_column or ("cls" if is_tar else "label")))
    elif path.exists() or is_local(str(source)):
        raise FileNotFoundError(f"{source} is no folder of class folders, no .tar or .parquet shards and no data set.")
    else:
        return _Columns(_load_dataset(source, split), columns)
    if split is not None:
        raise ValueError(f"{source} has no splits: name the folder or the shards of the one you mean, and no split.")
    return rows


def _load_dataset(source: str | Path, split: str | None) -> "Dataset":
    """Return a data set that was saved in a folder, or one of the hub.

    Raises:
        FileNotFoundError: the hub, or what was fetched from it before, has none of that name.
        ValueError: it has several splits and none of them is given, or another one.
    """
    from datasets import Dataset, load_dataset, load_from_disk

    dataset_cache()
    if isinstance(source, Path):
        found = load_from_disk(str(source))
    else:
        try:
            found = load_dataset(source)
        except (OSError, ValueError) as error:
            raise FileNotFoundError(f"There is no data set {source}: {str(error)[:200]}") from error
    if isinstance(found, Dataset):
        return found
    if split is None and len(found) == 1:
        split = next(iter(found))
    if split not in found:
        raise ValueError(f"{source} has the splits {', '.join(map(str, found))}; give one as --split.")
    return found[split]


def _class_labels(shard: str, column: str) -> Sequence[str]:
    """Return the names that `datasets` wrote into a Parquet file for the numbers of a column, if it did."""
    import pyarrow.parquet as pq

    metadata = pq.read_schema(shard).metadata or {}
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"][column]["names"]
    except (KeyError, TypeError, ValueError):
        return ()
    return [str(name) for name in names] if isinstance(names, list) else ()


def _stored_image(image: object, root: Path) -> str | bytes:
    """Return a path or bytes; raise BadRowError for anything else, such as a URL."""
    if isinstance(image, dict):
        image = image.get("bytes") if image.get("bytes") is not None else image.get("path")
    if isinstance(image, str):
        return image if os.path.isabs(image) else path_below_root(image, root)
    if not isinstance(image, bytes):
        raise BadRowError("missing field", f"the image is {type(image).__name__}, neither a path nor bytes")
    return image


__all__ = ["LabelledImage", "LabelledImages"]
