"""Visual similarity of the things that words name, by the pixels of their drawings, and what words have of it.

The paper says that images move words of things that look alike together (section 3.1). Pixels are no model's: neither
BriVL's image tower nor the ImageNet weights that it begins with decide what looks alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from ...data.emoji7.dataset import load_emoji7
from .antonyms import target_ranks
from .statistics import rank_rows

SIZE = 12  # pixels of the side to which an image is shrunk: colours and coarse shape
PAIRS = 150  # of names, drawn alike or unlike
STYLE = {"seen": "test", "held": "test_held"}  # splits of the style fluent3d, which no BriVL is trained on


@dataclass(frozen=True)
class NamedImages:
    """Concepts of emoji7 of which no two have one name.

    Attributes:
        names: in Chinese.
        subgroups: a super-class of each, such as food-fruit.
        similarity: (n, n) of their drawings.
    """

    names: list[str]
    subgroups: list[str]
    similarity: np.ndarray

    def keep(self, names: Sequence[str]) -> "NamedImages":
        """Return those of some names."""
        kept = [index for index, name in enumerate(self.names) if name in set(names)]
        own = [[values[index] for index in kept] for values in (self.names, self.subgroups)]
        return NamedImages(own[0], own[1], self.similarity[np.ix_(kept, kept)])

    @cached_property
    def ranks(self) -> np.ndarray:
        """`rank_rows` of the similarity."""
        return rank_rows(self.similarity)

    def permute(self, *, seed: int) -> "NamedImages":
        """Return a control in which each name has the drawing of another."""
        order = np.random.default_rng(seed).permutation(len(self.names))
        return NamedImages(self.names, self.subgroups, self.similarity[np.ix_(order, order)])

    def pairs(self, *, alike: bool, number: int = PAIRS) -> np.ndarray:
        """Return (p, 2) indices of the pairs of one super-class that are drawn most alike, or most unlike.

        No name is in two of them, and the two names of a pair have no character in common, so that texts alone say
        little of their likeness. The pair of the greatest (or least) similarity is taken first.
        """
        groups, letters = np.array(self.subgroups), [set(name) for name in self.names]
        first, second = np.nonzero(np.triu(groups[:, None] == groups, 1))
        order = np.argsort(self.similarity[first, second] * (-1 if alike else 1), kind="stable")
        free, found = np.ones(len(groups), bool), []
        for one, other in zip(first[order], second[order], strict=True):
            if free[one] and free[other] and letters[one].isdisjoint(letters[other]):
                free[[one, other]] = False
                found.append((one, other))
        return np.array(found[:number], int).reshape(-1, 2)


def pixel_vector(image: Image.Image) -> np.ndarray:
    """Return (432,) numbers of an image on white, shrunk to 12 x 12 pixels."""
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    white.alpha_composite(rgba)
    return np.asarray(white.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BOX), np.float64).ravel() / 255


def named_images(concepts: str = "seen") -> NamedImages:
    """Return concepts of emoji7, "seen" in training or "held", and how alike they are in a style that is not.

    Similarity is the cosine of their pixels, from which the mean image is subtracted.
    """
    rows = load_emoji7()[STYLE[concepts]].select_columns(["image", "name_zh", "subgroup"])
    by_name: dict[str, tuple[np.ndarray, str]] = {}
    for row in rows:
        by_name.setdefault(row["name_zh"], (pixel_vector(row["image"]), row["subgroup"]))
    pixels = np.stack([vector for vector, _ in by_name.values()])
    pixels -= pixels.mean(axis=0)
    pixels /= np.linalg.norm(pixels, axis=1, keepdims=True)
    return NamedImages(list(by_name), [group for _, group in by_name.values()], pixels @ pixels.T)


def visual_correlations(rows: np.ndarray, *drawn: NamedImages) -> list[np.ndarray]:
    """Return for each set of drawings (n,) the rank correlations of a name's similarity to others with its drawing's.

    Args:
        rows: (n, d) unit rows of the names.
        drawn: the drawings of these names, and perhaps those of others as a control.
    """
    texts = rank_rows(rows.astype(np.float64) @ rows.T)
    return [np.einsum("nm,nm->n", texts, images.ranks) for images in drawn]


def rank_drops(before: np.ndarray, after: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return (p,) by how many ranks the words of each pair come nearer; both directions are averaged.

    Args:
        before, after: (n, d) unit rows in two spaces.
        pairs: (p, 2) indices.
    """
    ranks = [
        (target_ranks(rows, pairs[:, 0], pairs[:, 1]) + target_ranks(rows, pairs[:, 1], pairs[:, 0])) / 2
        for rows in (before, after)
    ]
    return ranks[0] - ranks[1]


__all__ = ["NamedImages", "named_images", "pixel_vector", "rank_drops", "visual_correlations"]
