"""Captions of COCO's images: COCO's own, those of the same form (STAIR, Japanese), and the splits of Karpathy.

A file of COCO's form holds `images` [{id, file_name}] and `annotations` [{image_id, caption}]. Karpathy's file, such as
dataset_coco.json, holds `images` [{filename, filepath, cocoid, split, sentences: [{raw}]}]; its split "restval" counts
as "train".
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..files.image_ids import canonical_image_id
from ..files.json_files import check_lists, read_lists
from ..rows.report import BadRowError, BadRowReport
from .rows import Record

_COCO_FILE = re.compile(r"COCO_([A-Za-z0-9]+)_\d+\.\w+")


@dataclass
class CocoCaptions:
    """The rows of Karpathy's file, or of files of COCO's form, one an image.

    Attributes:
        source: a file, or the folder of captions_train2014.json and captions_val2014.json, or of
            stair_captions_v1.2_train.json and stair_captions_v1.2_val.json. Files of tokenised captions are not read.
        language: of the captions.
        split_file: Karpathy's file, which says the split of each image; without it a file is a split, by its name.
    """

    source: Path
    language: str = "en"
    split_file: Path | None = None

    def __call__(self, report: BadRowReport) -> Iterator[Record]:
        """Yield the images.

        Raises:
            FileNotFoundError: no such file, or none in the folder.
            ValueError: a file is of another form, or it is unknown which split it is.
        """
        splits = None if self.split_file is None else read_splits(self.split_file)
        for file in self._files():
            content = read_lists(file, "images", object_hook=_only_raw)
            if _is_karpathy(content):
                if splits is not None:
                    raise ValueError(f"{file} says the split of its images itself; give no other file of splits.")
                yield from self._karpathy(content)
            else:
                check_lists(file, content, "annotations")
                yield from self._coco(file, content, splits, report)

    def _files(self) -> list[Path]:
        if not self.source.is_dir():
            return [self.source]
        files = [file for file in sorted(self.source.glob("*captions*.json")) if "tokenized" not in file.name]
        if not files:
            raise FileNotFoundError(f"{self.source} holds no *captions*.json; give the file, or its folder.")
        return files

    def _karpathy(self, content: dict) -> Iterator[Record]:
        for number, entry in enumerate(content["images"]):
            place = f"image {number}"
            try:
                image, image_id, split = _karpathy_entry(entry, content)
            except BadRowError as error:
                yield place, error
                continue
            texts = entry.get("sentences")
            yield place, _row(image_id, image, split, {self.language: texts if isinstance(texts, list) else []})

    def _coco(
        self, file: Path, content: dict, splits: Mapping[str, str] | None, report: BadRowReport
    ) -> Iterator[Record]:
        of_file = _split_of_name(file) if splits is None else None
        captions = defaultdict(list)
        for number, annotation in enumerate(content["annotations"]):
            key = annotation.get("image_id") if isinstance(annotation, dict) else None
            captions[key if isinstance(key, int) else None].append((number, annotation))
        seen = set()
        for number, entry in enumerate(content["images"]):
            place = f"{file.name}/image {number}"
            fields = entry if isinstance(entry, dict) else {}
            key, name = fields.get("id"), fields.get("file_name")
            if not isinstance(key, int) or not isinstance(name, str):
                yield place, BadRowError("missing field", f"{str(entry)[:200]}; an image has id and file_name")
                continue
            if key in seen:
                yield place, BadRowError("duplicate image", f"id {key} is there twice")
                continue
            seen.add(key)
            image_id = canonical_image_id(name, "coco")
            split = of_file if splits is None else splits.get(image_id)
            if split is None:
                yield place, BadRowError("in no split", f"{name} is not in {self.split_file}")
                continue
            texts = [annotation.get("caption") for _, annotation in captions[key]]
            yield place, _row(image_id, _path(name), split, {self.language: texts})
        for key in captions.keys() - seen:
            for number, annotation in captions[key]:
                report.add_repair("unknown image", f"{file.name}/annotation {number}", str(annotation)[:80])


def read_splits(path: Path) -> dict[str, str]:
    """Return the split of each `canonical_image_id` in Karpathy's file: "train", "val" or "test".

    Raises:
        FileNotFoundError, ValueError: no such file, or it is of another form.
    """
    content = read_lists(path, "images", object_hook=_only_raw)
    splits = {}
    for number, entry in enumerate(content["images"]):
        try:
            _, image_id, split = _karpathy_entry(entry, content)
        except BadRowError as error:
            raise ValueError(f"{path}, image {number}: {error}; it is no file of Karpathy's splits.") from error
        splits[image_id] = split
    return splits


def _only_raw(fields: dict) -> object:
    """Return a sentence of Karpathy's without its tokens, which would be most of what is in memory."""
    return fields.get("raw") if "raw" in fields else fields


def _is_karpathy(content: dict) -> bool:
    first = next(iter(content["images"]), None)
    return isinstance(first, dict) and "sentences" in first


def _karpathy_entry(entry: object, content: dict) -> tuple[str, str, str]:
    """Return the path, the id and the split of an entry."""
    fields = entry if isinstance(entry, dict) else {}
    name, split = fields.get("filename"), fields.get("split")
    if not isinstance(name, str) or not isinstance(split, str):
        raise BadRowError("missing field", f"{str(entry)[:200]}; an image has filename and split")
    folder = fields.get("filepath")
    image = f"{folder}/{name}" if isinstance(folder, str) and folder else name
    image_id = canonical_image_id(name, str(content.get("dataset") or ""))
    return image, image_id, "train" if split == "restval" else split


def _row(image_id: str, image: str, split: str, captions: dict[str, list]) -> dict:
    return {"image_id": image_id, "image": image, "split": split, "captions": captions}


def _path(name: str) -> str:
    """Return the path of an image of COCO 2014 in its folder: train2014/COCO_train2014_000000000042.jpg."""
    return f"{found[1]}/{name}" if (found := _COCO_FILE.fullmatch(name)) else name


def _split_of_name(file: Path) -> str:
    found = [split for split in ("train", "val", "test") if split in file.name.lower()]
    if len(found) != 1:
        raise ValueError(f"{file}: which of train, val and test it is, its name does not say; give a file of splits.")
    return found[0]


__all__ = ["CocoCaptions", "read_splits"]
