"""What retrieval is judged on, whatever the model: pictures, their captions, folds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RetrievalTest:
    """Pictures and their captions in one language.

    Attributes:
        texts: the captions.
        owners: (texts,) index in `pictures` of the picture of each.
        pictures: what finds them, each with a caption: rows of a corpus's regions, or paths.
    """

    texts: list[str]
    owners: np.ndarray
    pictures: Sequence

    def folds(self, number: int) -> list["RetrievalTest"]:
        """Returns so many tests of equally many pictures in their order, as COCO's five of 1000.

        Raises:
            ValueError: the pictures cannot be cut so.
        """
        if number < 1 or len(self.pictures) % number:
            raise ValueError(f"{len(self.pictures)} pictures cannot be cut into {number} equal folds.")
        size = len(self.pictures) // number
        folds = []
        for start in range(0, len(self.pictures), size):
            inside = np.flatnonzero((self.owners >= start) & (self.owners < start + size))
            texts = [self.texts[index] for index in inside]
            folds.append(RetrievalTest(texts, self.owners[inside] - start, self.pictures[start : start + size]))
        return folds


def choose_captions(
    pictures: Sequence[int], texts: Sequence[str], places: Sequence[int], *, caption: int = 0
) -> tuple[list[str], np.ndarray, list[int]]:
    """Returns the captions to judge on, the index of the picture of each, and the pictures that have one.

    Args:
        pictures: whose picture each text is, in any order.
        texts: the captions.
        places: the pictures to judge on.
        caption: 0: all captions of a picture; n: its n-th alone, or its last if there are fewer.
    """
    own: dict[int, list[str]] = {int(place): [] for place in places}
    for picture, text in zip(pictures, texts, strict=True):
        if int(picture) in own:
            own[int(picture)].append(text)
    own = {place: found if caption == 0 else found[:caption][-1:] for place, found in own.items() if found}
    owners = np.repeat(np.arange(len(own)), [len(found) for found in own.values()])
    return [text for found in own.values() for text in found], owners, list(own)


def mean_recalls(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Returns the mean of what `retrieval_recalls` gave for each fold, and `chance_mean_recall` beside it."""
    means = {name: float(np.mean([one[name] for one in figures])) for name in figures[0]}
    return means | {"chance_mean_recall": float(np.mean([value for name, value in means.items() if "chance" in name]))}


__all__ = ["RetrievalTest", "choose_captions", "mean_recalls"]
