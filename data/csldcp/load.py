"""CSLDCP as FewCLUE publishes it: a folder with five few-shot training sets, a test set and the list of labels.

Names: a *split* is one of the training sets, a *shot* a labelled text to learn from, a *draw* one shot for each class.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..files.bounded import read_bounded_text
from ..files.hashing import hash_file, hash_json
from ..rows.report import BadRowError, BadRowReport
from ..rows.text import is_blank
from ..rows.text_files import open_text

VARIABLE = "WENLAN_FEWCLUE"
LABELS, TEST, TRAIN = "labels_all.txt", "test_public.json", "train_{}.json"
SPLITS = 5
MAX_LABELS = 1 << 20  # bytes
SOURCE = "github.com/CLUEbenchmark/FewCLUE, datasets/csldcp"


@dataclass(frozen=True)
class LabelledTexts:
    """Texts and the numbers of their classes.

    Attributes:
        texts: as in the file, without white space around them.
        labels: (n,) int, indices of `CSLDCP.classes`.
    """

    texts: list[str]
    labels: np.ndarray


@dataclass(frozen=True)
class CSLDCP:
    """The data of a folder.

    Attributes:
        classes: names of the disciplines, in the order of the file.
        train: the five training sets.
        test: `test_public`.
        report: rows that were left out.
        digest: identifies the files.
    """

    classes: list[str]
    train: list[LabelledTexts]
    test: LabelledTexts
    report: BadRowReport
    digest: str

    def draw(self, split: int, draw: int) -> np.ndarray:
        """Return (classes,) the index of one text for each class in a training set, drawn with 1000 * split + draw."""
        rng = np.random.default_rng(1000 * split + draw)
        labels = self.train[split].labels
        return np.array([rng.choice(np.flatnonzero(labels == number)) for number in range(len(self.classes))])

    def remaining(self, split: int, draw: int) -> np.ndarray:
        """Return the indices of a training set's texts that are not in a draw, sorted."""
        return np.setdiff1d(np.arange(len(self.train[split].labels)), self.draw(split, draw))


def find_csldcp(folder: str | None) -> Path:
    """Return the folder with the files of CSLDCP.

    Args:
        folder: holds the files, or `csldcp` or `datasets/csldcp` does, which is in it; None: as `WENLAN_FEWCLUE` says.

    Raises:
        FileNotFoundError: no folder is given, or it does not have the files.
    """
    given = folder or os.environ.get(VARIABLE)
    if not given:
        raise FileNotFoundError(
            f"Where is CSLDCP? Fetch it from {SOURCE}, and give its folder as --fewclue or in {VARIABLE}; it is not "
            "shipped, because its texts have no licence."
        )
    for place in (Path(given), Path(given) / "csldcp", Path(given) / "datasets" / "csldcp"):
        if (place / LABELS).is_file():
            return place
    raise FileNotFoundError(f"{given} holds no {LABELS}, nor does csldcp in it; give the folder of {SOURCE}.")


def read_csldcp(folder: Path, *, max_bad_fraction: float = 0.01) -> CSLDCP:
    """Return the training sets and the test set of a folder.

    Empty texts and broken lines are left out and counted.

    Args:
        folder: of `find_csldcp`.
        max_bad_fraction: a greater fraction left out is an error.

    Raises:
        FileNotFoundError: a file is missing; the message names all that are.
        ValueError: a label is not in the list, one is twice in it, there is no text to classify, or a class has no text
            in a training set.
        TooManyBadRowsError: too much was left out.
    """
    names = [LABELS, TEST, *(TRAIN.format(split) for split in range(SPLITS))]
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}; copy all files of {SOURCE} there.")
    classes = _read_labels(folder / LABELS)
    number_of = {name: number for number, name in enumerate(classes)}
    report = BadRowReport(folder)
    test = _read_texts(folder / TEST, number_of, report)
    if not test.texts:
        raise ValueError(f"{folder / TEST} has no text to classify; copy it from {SOURCE} again.")
    train = [_read_texts(folder / TRAIN.format(split), number_of, report) for split in range(SPLITS)]
    report.log()
    report.raise_above(max_bad_fraction)
    for split, rows in enumerate(train):
        if absent := [classes[number] for number in np.setdiff1d(range(len(classes)), rows.labels)]:
            raise ValueError(
                f"{folder / TRAIN.format(split)} has no text of {', '.join(absent[:5])}, so no draw can be made of it."
            )
    return CSLDCP(classes, train, test, report, hash_json([hash_file(folder / name) for name in names]))


def _read_labels(path: Path) -> list[str]:
    names = [line.strip() for line in read_bounded_text(path, max_bytes=MAX_LABELS).splitlines()]
    names = [name for name in names if name]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{path} has {', '.join(twice[:5])} twice; every label is a class of its own.")
    if len(names) < 2:
        raise ValueError(f"{path} has {len(names)} labels; one a line, at least two.")
    return names


def _read_texts(path: Path, number_of: Mapping[str, int], report: BadRowReport) -> LabelledTexts:
    def check(place: int | str, fields: Mapping) -> tuple[str, int]:
        text, label = fields.get("content"), fields.get("label")
        if not isinstance(text, str) or not isinstance(label, str):
            raise BadRowError("missing field", f"content and label among {list(fields)[:10]}")
        if label not in number_of:
            raise ValueError(f"{path}, line {place}: the label {label[:40]!r} is not in {LABELS}; add it or mend it.")
        if is_blank(text):
            raise BadRowError("empty text", "content is empty")
        return text.strip(), number_of[label]

    rows = ((f"{path.name}/{number}", fields) for number, fields in _json_lines(path))
    found = list(report.check_rows(rows, check))
    return LabelledTexts([text for text, _ in found], np.array([label for _, label in found], int))


def _json_lines(path: Path) -> Iterator[tuple[int, dict | BadRowError]]:
    with open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            try:
                fields = json.loads(line) if line.strip() else None
            except (ValueError, RecursionError) as error:
                yield number, BadRowError("broken line", str(error))
                continue
            if fields is not None:
                is_object = isinstance(fields, dict)
                yield number, fields if is_object else BadRowError("broken line", f"{line[:80]!a} is no object")


def check_super_classes(groups: Mapping[str, str], classes: Sequence[str]) -> list[str]:
    """Return the group of each class.

    Raises:
        ValueError: a class has none, or a name is no class.
    """
    if absent := [name for name in classes if name not in groups]:
        raise ValueError(f"The map of disciplines lacks {len(absent)} classes, such as {absent[0]}.")
    if others := sorted(set(groups) - set(classes)):
        raise ValueError(f"The map of disciplines names what is no class: {', '.join(others[:5])}.")
    return [groups[name] for name in classes]


__all__ = ["CSLDCP", "SPLITS", "VARIABLE", "LabelledTexts", "check_super_classes", "find_csldcp", "read_csldcp"]
