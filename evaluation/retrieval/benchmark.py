"""Evaluation sets of retrieval for any model: images, their captions, folds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .confidence_interval import mean_recall_interval
from .recall import retrieval_recalls


@dataclass(frozen=True)
class RetrievalTest:
    """Images and their captions in one language.

    Attributes:
        texts: the captions.
        owners: (texts,) index in `images` of the image of each.
        images: what finds them, each with a caption: rows of a corpus's regions, or paths.
    """

    texts: list[str]
    owners: np.ndarray
    images: Sequence[Any]  # of each model its own

    def folds(self, number: int) -> list["RetrievalTest"]:
        """Return so many tests of equally many images in their order, as COCO's five of 1000.

        Raises:
            ValueError: the images cannot be cut so.
        """
        if number < 1 or len(self.images) % number:
            raise ValueError(f"{len(self.images)} images cannot be cut into {number} equal folds.")
        size = len(self.images) // number
        folds = []
        for start in range(0, len(self.images), size):
            inside = np.flatnonzero((self.owners >= start) & (self.owners < start + size))
            texts = [self.texts[index] for index in inside]
            folds.append(RetrievalTest(texts, self.owners[inside] - start, self.images[start : start + size]))
        return folds


def choose_captions(
    images: Sequence[int], texts: Sequence[str], places: Sequence[int], *, caption: int = 0
) -> tuple[list[str], np.ndarray, list[int]]:
    """Return the captions to evaluate on, the index of the image of each, and the images that have one.

    Args:
        images: whose image each text is, in any order.
        texts: the captions.
        places: the images to evaluate on.
        caption: 0: all captions of an image; n: its n-th alone, or its last if there are fewer.
    """
    own: dict[int, list[str]] = {int(place): [] for place in places}
    for image, text in zip(images, texts, strict=True):
        if int(image) in own:
            own[int(image)].append(text)
    own = {place: found if caption == 0 else found[:caption][-1:] for place, found in own.items() if found}
    owners = np.repeat(np.arange(len(own)), [len(found) for found in own.values()])
    return [text for found in own.values() for text in found], owners, list(own)


def mean_recalls(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of what `retrieval_recalls` gave for each fold, and `chance_mean_recall` beside it."""
    means = {name: float(np.mean([one[name] for one in metrics])) for name in metrics[0]}
    return means | {"chance_mean_recall": float(np.mean([value for name, value in means.items() if "chance" in name]))}


def evaluate_folds(folds: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, float | list[float]]:
    """Return the mean over folds of `retrieval_recalls`, and `interval`, that of the mean recall at 95 %.

    Each fold has scores (texts, images) and owners (texts,).
    """
    return mean_recalls([retrieval_recalls(*fold) for fold in folds]) | {"interval": mean_recall_interval(folds)}


__all__ = ["RetrievalTest", "choose_captions", "evaluate_folds", "mean_recalls"]
