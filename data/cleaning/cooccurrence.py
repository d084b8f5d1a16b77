"""Texts that stand beside many images, images that stand beside many texts, and pairs that occur again.

Texts and images are known by 64-bit fingerprints, so that counting takes 16 bytes a pair. Which of them are kept is
decided by fingerprint, not by place, so that it does not depend on the order of the rows.
"""

from array import array
from collections.abc import Iterable
from dataclasses import InitVar, dataclass

import numpy as np

from ..files.hashing import fingerprint


@dataclass
class PairRules:
    """Finds the pairs that occur too often, one after the other, in the order of the rows.

    Attributes:
        images_of_text: text with too many different images -> the images it keeps.
        texts_of_image: image with too many different texts -> the texts it keeps.
        repeated: the pairs that occur more than once, each as text ^ image.
    """

    images_of_text: dict[int, frozenset[int]]
    texts_of_image: dict[int, frozenset[int]]
    repeated: InitVar[Iterable[int]]

    def __post_init__(self, repeated: Iterable[int]) -> None:
        self._was_seen = dict.fromkeys(repeated, False)

    def text_fault(self, caption: str, image: int) -> str | None:
        """Return what is wrong where the text stands beside too many images and does not keep this one."""
        kept = self.images_of_text.get(fingerprint(caption.encode()))
        return None if kept is None or image in kept else f"many images have the text {caption[:40]!r}"

    def image_fault(self, caption: str, image: int) -> str | None:
        """Return what is wrong where the image stands beside too many texts and does not keep this one."""
        kept = self.texts_of_image.get(image)
        return None if kept is None or fingerprint(caption.encode()) in kept else f"one of many texts: {caption[:40]!r}"

    def repetition(self, caption: str, image: int) -> str | None:
        """Return what is wrong where the same pair came before; asking counts as coming."""
        pair = fingerprint(caption.encode()) ^ image
        if not self._was_seen.get(pair, True):
            self._was_seen[pair] = True
            return None
        return f"came before: {caption[:40]!r}" if pair in self._was_seen else None


class PairCounter:
    """Counts exactly with whom each text and each image occurs."""

    def __init__(self) -> None:
        self._pairs = array("Q")

    def add(self, text: int, image: int) -> None:
        """Count one pair of fingerprints."""
        self._pairs.append(text)
        self._pairs.append(image)

    def rules(self, *, max_images: int, kept_images: int, max_texts: int, kept_texts: int) -> PairRules:
        """Return the rules for what was counted.

        Args:
            max_images: a text with more different images keeps only `kept_images` of them.
            max_texts: an image with more different texts keeps only `kept_texts` of them.
        """
        texts, images = np.frombuffer(self._pairs, np.uint64).reshape(-1, 2).T
        order = np.lexsort((images, texts))
        texts, images = texts[order], images[order]
        again = np.zeros(len(order), bool)
        again[1:] = (texts[1:] == texts[:-1]) & (images[1:] == images[:-1])
        repeated = (texts[again] ^ images[again]).tolist()
        texts, images = texts[~again], images[~again]
        return PairRules(
            _smallest_of_the_crowded(texts, images, max_images, kept_images),
            _smallest_of_the_crowded(images, texts, max_texts, kept_texts),
            repeated,
        )


def _smallest_of_the_crowded(keys: np.ndarray, values: np.ndarray, limit: int, kept: int) -> dict[int, frozenset[int]]:
    """Return the `kept` smallest values of each key that has more than `limit` distinct ones."""
    order = np.argsort(keys, kind="stable")  # the pairs come sorted, so that a key's values stay in order
    keys, values = keys[order], values[order]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))  # of the runs of equal keys
    crowded = starts[np.diff(starts, append=len(keys)) > limit]
    return {int(keys[start]): frozenset(values[start : start + kept].tolist()) for start in crowded}


__all__ = ["PairCounter", "PairRules"]
