"""Multi30K: the images of Flickr30k with captions in English, German, French and Czech.

Line i of each file of captions belongs to line i of the list of images. Task 1 has one caption in each language, an
English one and its translations; task 2 has five each in English and German, written for the images.
"""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ..files.bounded import read_bounded_text
from ..files.image_ids import canonical_image_id
from ..rows.report import BadRowReport
from .rows import Record

LANGUAGES = ("en", "de", "fr", "cs")
SPLITS = ("train", "val", "test_2016")  # other tests: test_2017_flickr, test_2017_mscoco, test_2018_flickr
NUM_CAPTIONS = 5  # of task 2
MAX_LINES = 1_000_000  # of a file of captions: a damaged or hostile archive may unpack to any size
STEMS = {"test_2016": "test_2016_flickr"}  # split -> what task 1 calls it


@dataclass
class Multi30K:
    """The rows of the repository multi30k/dataset, one an image.

    Attributes:
        source: the repository, its folder `data`, or what holds `task1` or `task2` of it; files as they are there, with
            or without .gz.
        languages: all that are there by default.
        task: 1 or 2. By default each language is read from task 2 if that has it, else from task 1.
        splits: as in the names of the files; test_2016 comes out as "test".
    """

    source: Path
    languages: Sequence[str] | None = None
    task: int | None = None
    splits: Sequence[str] = SPLITS

    def __post_init__(self) -> None:
        if self.task not in (None, 1, 2):
            raise ValueError(f"task is {self.task!r}; Multi30K has the tasks 1 and 2.")
        places = (self.source, self.source / "data")
        roots = [place for place in places if (place / "task1").is_dir() or (place / "task2").is_dir()]
        if not roots:
            raise FileNotFoundError(f"{self.source} holds neither task1 nor task2; give a copy of multi30k/dataset.")
        self.root = roots[0]
        asked = self.languages or LANGUAGES
        if unknown := [language for language in asked if language not in LANGUAGES]:
            raise ValueError(f"Multi30K has no language {unknown[0]!r}, only {', '.join(LANGUAGES)}.")
        self.tasks = {language: task for language in asked if (task := self._task_of(language)) is not None}
        missing = [language for language in asked if language not in self.tasks]
        if missing and (self.languages or not self.tasks):
            where = f"the splits {', '.join(self.splits)}"
            raise FileNotFoundError(f"{self.root} has no captions in {', '.join(missing)} in {where}.")

    def __call__(self, report: BadRowReport) -> Iterator[Record]:
        """Yield the images of all splits.

        Raises:
            FileNotFoundError: a list of images is missing, or all captions of a split.
            ValueError: a file has not as many lines as the list of images, or is damaged.
        """
        for split in self.splits:
            rows: dict[str, dict] = {}
            for language, task in self.tasks.items():
                names: list[str] = []
                for file in self._files(task, split, language):
                    names = names or self._images(task, split)
                    for name, caption in zip(names, _captions(file, len(names)), strict=True):
                        rows.setdefault(name, {}).setdefault(language, []).append(caption)
            if not rows:
                raise FileNotFoundError(f"{self.root} has no captions of the split {split!r}; leave it out.")
            for name, captions in rows.items():
                row = {"image_id": canonical_image_id(name, "flickr30k"), "image": name, "captions": captions}
                yield f"{split}/{name}", row | {"split": "test" if split == "test_2016" else split}

    def _task_of(self, language: str) -> int | None:
        for task in (2, 1) if self.task is None else (self.task,):
            if any(self._files(task, split, language) for split in self.splits):
                return task
        return None

    def _files(self, task: int, split: str, language: str) -> list[Path]:
        """Return all files of a split, or none."""
        names = [f"{STEMS.get(split, split)}.{language}"]
        if task == 2:
            names = [f"{split}.{number}.{language}" for number in range(1, NUM_CAPTIONS + 1)]
        found = {name: self._find(self.root / f"task{task}" / "raw" / name) for name in names}
        files = [file for file in found.values() if file is not None]
        if files and len(files) < len(names):
            missing = [name for name, file in found.items() if file is None]
            raise FileNotFoundError(f"{files[0].parent} has {files[0].name}, but no {', '.join(missing)}; fetch all.")
        return files

    @staticmethod
    def _find(file: Path) -> Path | None:
        return next((path for path in (file.with_name(f"{file.name}.gz"), file) if path.is_file()), None)

    def _images(self, task: int, split: str) -> list[str]:
        name = f"{STEMS.get(split, split)}.txt" if task == 1 else f"{split}_images.txt"
        file = self.root / f"task{task}" / "image_splits" / name
        if not file.is_file():
            raise FileNotFoundError(f"There is no {file}, the list of images that the captions belong to.")
        lines = read_bounded_text(file, errors="surrogateescape").rstrip("\n").split("\n")
        names = [line.strip().partition("#")[0] for line in lines]
        if "" in names:
            raise ValueError(f"{file}, line {names.index('') + 1} is empty; the captions count on every line.")
        return names


def _captions(file: Path, expected: int) -> list[str]:
    try:
        opened = gzip.open if file.suffix == ".gz" else open
        with opened(file, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="\n") as lines:
            captions = list(islice(lines, MAX_LINES))
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{file} cannot be read ({error}); fetch it again.") from error
    if len(captions) != expected:
        raise ValueError(f"{file} has {len(captions)} lines, but the list of images {expected}; fetch both again.")
    return captions


__all__ = ["LANGUAGES", "SPLITS", "Multi30K"]
