"""Labelled images of a probe: a folder with a folder a class, or the styles of emoji7."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...data.emoji7.dataset import load_emoji7
from ...data.files.image_ids import name_as_text
from ...data.files.image_listing import list_images

EMOJI7 = "emoji7"
EMOJI7_SPLITS = {"train": "train", "test": "test"}  # four styles; fluent3d, which no training saw
SHOWN = 5  # classes that a message names

Label = Literal["group", "concept"]


@dataclass(frozen=True)
class LabelledImages:
    """Images of which each has a class.

    Attributes:
        source: their folder, or the data set and its split.
        labels: name of the class of each.
        open: iterates over the images from the first on: paths, or PIL images.
    """

    source: str
    labels: Sequence[str]
    open: Callable[[], Iterator[Any]]


def read_image_sets(
    train: str | Path, test: str | Path | None = None, *, label: Label = "group"
) -> tuple[LabelledImages, LabelledImages]:
    """Return the images to train a probe on, and those to evaluate it on.

    Args:
        train, test: folders with a folder of images a class, or "emoji7" for the first and nothing for the second.
        label: of emoji7, its 8 groups or its concepts.

    Raises:
        FileNotFoundError, ValueError: as `list_images`; images lie in no folder of a class, a folder of a class has no
            image, a set is missing, or the classes do not fit, see `check_classes`.
    """
    if str(train) == EMOJI7:
        if test is not None and str(test) != EMOJI7:
            raise ValueError(f"emoji7 is evaluated on its own unseen style; leave --test {test} out.")
        splits = load_emoji7()
        sets = [_of_split(splits[name], f"{EMOJI7}, {part}", label) for part, name in EMOJI7_SPLITS.items()]
    elif test is None:
        raise ValueError(f"There is nothing to evaluate on; give a second folder, --test, with the classes of {train}.")
    else:
        sets = [_of_folder(Path(folder)) for folder in (train, test)]
    check_classes(sets[0].labels, sets[1].labels)
    return sets[0], sets[1]


def check_classes(train: Sequence[str], test: Sequence[str]) -> None:
    """Raise ValueError for fewer than two classes in a set, or classes to evaluate on that are not to train on."""
    known, wanted = set(train), set(test)
    if unknown := wanted - known:
        raise ValueError(
            f"There is nothing to train on of {len(unknown)} classes of the evaluation: {name_classes(unknown)}. Add "
            "their images, or take the classes out."
        )
    for classes, purpose in ((known, "train"), (wanted, "evaluate")):
        if len(classes) < 2:
            raise ValueError(
                f"There are images of {len(classes)} class to {purpose} on, {name_classes(classes)}; a probe needs two."
            )


def name_classes(classes: Collection[str]) -> str:
    """Return the names of classes, of many the first, as a message has them."""
    more = f" and {len(classes) - SHOWN} more" if len(classes) > SHOWN else ""
    return f"{', '.join(sorted(classes)[:SHOWN])}{more}"


def class_indices(train: Sequence[str], test: Sequence[str]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the classes to train on, sorted, and the index of the class of each image of both sets, (n,) int64."""
    classes = sorted(set(train))
    index = {name: number for number, name in enumerate(classes)}
    return classes, np.array([index[one] for one in train]), np.array([index[one] for one in test])


def _of_folder(folder: Path) -> LabelledImages:
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}; give one with a folder of images a class.")
    images = list_images(folder)
    loose = [name for name, _ in images if "/" not in name]
    if loose:
        raise ValueError(
            f"{folder}: {len(loose)} images, such as {loose[0]}, lie in no folder of a class; move them into "
            f"{folder}/CLASS/."
        )
    paths, labels = [path for _, path in images], [name.partition("/")[0] for name, _ in images]
    folders = {name_as_text(one.name) for one in folder.iterdir() if one.is_dir() and not one.name.startswith(".")}
    if empty := folders - set(labels):
        raise ValueError(
            f"{folder}: {len(empty)} folders of classes have no image: {name_classes(empty)}. Add some, or take the "
            "folders out."
        )
    return LabelledImages(str(folder), labels, lambda: iter(paths))


def _of_split(rows: Any, source: str, label: Label) -> LabelledImages:
    labels = list(rows["group"] if label == "group" else rows["concept"])
    return LabelledImages(source, labels, lambda: (row["image"] for row in rows.select_columns("image")))


__all__ = ["EMOJI7", "Label", "LabelledImages", "check_classes", "class_indices", "name_classes", "read_image_sets"]
