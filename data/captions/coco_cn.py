"""COCO-CN: Chinese captions of 20,342 images of COCO, of train2014 and val2014 in each split.

The usual test set is its 1,000 test images with the captions that were written for them, not the translated ones. Its
test images may be in the training lists of COCO and STAIR: see `Decontaminator`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..files.image_ids import canonical_image_id
from ..rows.report import BadRowError, BadRowReport
from .rows import Record

SPLITS = ("train", "val", "test")
WRITTEN, TRANSLATED = "imageid.human-written-caption.txt", "imageid.manually-translated-caption.txt"


@dataclass
class CocoCN:
    """The rows of COCO-CN, one an image.

    Attributes:
        source: the folder of coco-cn_{train,val,test}.txt and the files of captions.
        translated: captions that were translated from English by hand (of the test images only), in place of those
            that were written for the images.
    """

    source: Path
    translated: bool = False

    def __call__(self, report: BadRowReport) -> Iterator[Record]:
        """Yield the images of all splits, then the lines that are of none.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: an image is in two splits.
        """
        file = self.source / (TRANSLATED if self.translated else WRITTEN)
        captions: dict[str, list[str]] = {}
        broken: list[Record] = []
        for number, line in _lines(file):
            key, *texts = line.split(maxsplit=1)
            if not texts or "#" not in key:
                fault = BadRowError("broken line", f"{line[:80]!a} is no ID#NUMBER and caption")
                broken.append((f"{file.name}/{number}", fault))
            else:
                captions.setdefault(key.partition("#")[0], []).append(texts[0])
        split_of: dict[str, str] = {}
        for split in SPLITS:
            for _, name in _lines(self.source / f"coco-cn_{split}.txt"):
                if split_of.setdefault(name, split) != split:
                    raise ValueError(f"{self.source}: {name} is in the lists of {split_of[name]} and of {split}.")
        for name, split in split_of.items():
            if name in captions or not self.translated:  # only the test is translated
                yield name, _row(name, split, captions.pop(name, []))
        for name in captions:
            yield name, BadRowError("in no split", f"{name} is in none of coco-cn_{{{','.join(SPLITS)}}}.txt")
        yield from broken


def _row(name: str, split: str, captions: list[str]) -> dict:
    folder = name.split("_")[1] if name.count("_") == 2 else ""
    image = f"{folder}/{name}.jpg" if folder else f"{name}.jpg"
    return {"image_id": canonical_image_id(name, "coco"), "image": image, "split": split, "captions": {"zh": captions}}


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    if not file.is_file():
        raise FileNotFoundError(f"There is no {file}; give the folder of COCO-CN, which holds it.")
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield number, line.strip()


__all__ = ["CocoCN"]
