"""Pairs as an evaluation set: each image and each caption once, and who belongs to whom."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ...data.pairs.caption_groups import fold_caption
from ...data.pairs.dataset import stored_image
from ...data.pairs.splits import image_fingerprint

if TYPE_CHECKING:
    from datasets import Dataset
    from PIL import Image

CELLS = 1 << 24  # of a block of scores


@dataclass(frozen=True)
class PairSet:
    """Distinct images and captions of some rows; a caption of several images is right for each of them.

    Images are distinct by their bytes, captions apart from case and white space.

    Attributes:
        rows: with an undecoded `image`.
        row_of_image: (images,) the first row of each image.
        texts: the captions as they were first written.
        links: (n, 2) index of caption and image, once each.
        num_pairs: how many rows and captions there were.
    """

    rows: "Dataset"
    row_of_image: np.ndarray
    texts: list[str]
    links: np.ndarray
    num_pairs: int

    @classmethod
    def from_rows(cls, rows: "Dataset") -> "PairSet":
        """Return the set of rows as `read_pairs` gives them.

        Raises:
            OSError: an image cannot be read.
            ValueError: there are fewer than two images or captions that differ.
        """
        import datasets

        rows = rows.cast_column("image", datasets.Image(decode=False))
        images: dict[int, tuple[int, int]] = {}  # fingerprint -> index, first row
        texts: dict[str, tuple[int, str]] = {}  # folded -> index, caption
        links, num_pairs = set(), 0
        for place, row in enumerate(rows):
            image, _ = images.setdefault(image_fingerprint(row["image"]), (len(images), place))
            for caption in [row["text"]] if isinstance(row["text"], str) else row["text"]:
                text, _ = texts.setdefault(fold_caption(caption), (len(texts), caption))
                links.add((text, image))
                num_pairs += 1
        if min(len(images), len(texts)) < 2:
            raise ValueError(
                f"There are {len(images)} images and {len(texts)} captions that differ: there is nothing to compare "
                "them with. Give two or more of each."
            )
        firsts = np.array([place for _, place in images.values()], np.int64)
        ordered = np.array(sorted(links), np.int64).reshape(-1, 2)
        return cls(rows, firsts, [caption for _, caption in texts.values()], ordered, num_pairs)

    def images(self) -> "Iterator[bytes | str | Image.Image]":
        """Yield the bytes or the path of each image."""
        for place in self.row_of_image:
            yield stored_image(self.rows[int(place)]["image"])

    @cached_property
    def images_of_texts(self) -> np.ndarray:
        """(texts,) how many images each caption is right for."""
        return np.bincount(self.links[:, 0], minlength=len(self.texts))

    @cached_property
    def texts_of_images(self) -> np.ndarray:
        """(images,) how many captions each image has."""
        return np.bincount(self.links[:, 1], minlength=len(self.row_of_image))

    def relevant_images(self, texts: slice) -> np.ndarray:
        """Return (texts, images) bool, True where a caption belongs to an image."""
        return self._relevant(texts, self.links, len(self.row_of_image))

    def relevant_texts(self, images: slice) -> np.ndarray:
        """Return (images, texts) bool, True where an image belongs to a caption."""
        return self._relevant(images, self.links[:, ::-1], len(self.texts))

    @staticmethod
    def _relevant(queries: slice, links: np.ndarray, candidates: int) -> np.ndarray:
        own = links[(links[:, 0] >= queries.start) & (links[:, 0] < queries.stop)]
        relevant = np.zeros((queries.stop - queries.start, candidates), bool)
        relevant[own[:, 0] - queries.start, own[:, 1]] = True
        return relevant


def blocks(queries: int, candidates: int) -> Iterator[slice]:
    """Yield the queries in blocks of at most `CELLS` scores."""
    size = max(1, CELLS // max(1, candidates))
    for start in range(0, queries, size):
        yield slice(start, min(start + size, queries))


__all__ = ["PairSet", "blocks"]
