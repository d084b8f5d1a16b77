"""Dominant colour of the named thing: does a text tower that was trained with images know what colour things have?

The colour of a concept of emoji7 is the hue that most of its coloured pixels have in the drawings that are trained
on. Of one name for each of five colours all other names are classified, by their text embeddings alone: the nearest of
the five names, of the images of these five things, or of both. A name that says a colour is left out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ...data.emoji7.dataset import load_emoji7
from .draws import macro_accuracy

# name -> hues in degrees, from and to
COLOURS = {"red": (330, 20), "yellow": (20, 70), "green": (70, 165), "blue": (165, 260), "purple": (260, 330)}
SATURATION, BRIGHTNESS = 0.25, 0.2  # of a coloured pixel
COLOURED, DOMINANT = 0.2, 0.5  # fractions: of the pixels that are drawn, and of those that are coloured
WORDS = "红黄绿蓝紫橙粉黑白棕褐灰青金银彩色"  # of names that say a colour
METHODS = ("text only", "visual only", "both", "both, permuted")


@dataclass(frozen=True)
class ColouredNames:
    """Concepts of which the drawings have one colour.

    Attributes:
        names: in Chinese.
        concept_ids: of emoji7.
        colours: (n,) int, indices of `COLOURS`.
    """

    names: list[str]
    concept_ids: list[int]
    colours: np.ndarray

    def draw(self, number: int, *, seed: int = 0) -> np.ndarray:
        """Return (colours,) the index of one concept for each colour."""
        rng = np.random.default_rng((seed, number))
        return np.array([rng.choice(np.flatnonzero(self.colours == colour)) for colour in range(len(COLOURS))])


def hue_fractions(image: Image.Image) -> tuple[np.ndarray, float]:
    """Return (colours,) the fractions of an image's coloured pixels by hue, and how much of what is drawn is coloured.

    Without a coloured pixel the fractions are 0.
    """
    rgba = image.convert("RGBA")
    hue, saturation, brightness = (
        channel / 255 for channel in np.moveaxis(np.array(rgba.convert("RGB").convert("HSV")), 2, 0)
    )
    drawn = np.array(rgba)[..., 3] > 127
    is_coloured = drawn & (saturation > SATURATION) & (brightness > BRIGHTNESS)
    degrees = 360 * hue[is_coloured]
    counts = np.array(
        [
            ((degrees >= low) & (degrees < high) if low < high else (degrees >= low) | (degrees < high)).sum()
            for low, high in COLOURS.values()
        ]
    )
    return counts / max(counts.sum(), 1), float(is_coloured.sum() / max(drawn.sum(), 1))


def coloured_names() -> ColouredNames:
    """Return the concepts with one dominant colour, by the mean over the styles that are trained on."""
    rows = load_emoji7()["train"]
    found: dict[int, list[tuple[np.ndarray, float]]] = {}
    name_of = dict(zip(rows["concept_id"], rows["name_zh"], strict=True))
    for row in rows.select_columns(["image", "concept_id"]):
        found.setdefault(row["concept_id"], []).append(hue_fractions(row["image"]))
    ids, colours = [], []
    for concept_id, parts in sorted(found.items()):
        hues = np.mean([fractions for fractions, _ in parts], axis=0)
        coloured = np.mean([fraction for _, fraction in parts])
        says_it = not set(name_of[concept_id]).isdisjoint(WORDS)
        if coloured >= COLOURED and hues.max() >= DOMINANT and not says_it:
            ids.append(concept_id)
            colours.append(int(hues.argmax()))
    return ColouredNames([name_of[one] for one in ids], ids, np.array(colours))


def colour_accuracies(
    concepts: ColouredNames,
    texts: np.ndarray,
    images: Callable[[Sequence[int]], np.ndarray] | None,
    *,
    draws: int,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Return by method of `METHODS` the macro accuracy of each draw, a fraction; text only where there are no images.

    Scores of text and images are cosines, and both are added as they are.

    Args:
        concepts: of `coloured_names`.
        texts: (n, d) unit rows of their names.
        images: takes concept ids, returns (ids, d) unit rows in the same space: what the things look like.
        draws: how many.
        seed: of the draws.
    """
    chosen = METHODS if images else METHODS[:1]
    found: dict[str, list[float]] = {method: [] for method in chosen}
    for number in range(draws):
        shots = concepts.draw(number, seed=seed)
        tested = np.setdiff1d(np.arange(len(texts)), shots)
        scores = {"text only": texts[tested] @ texts[shots].T}
        if images:
            seen = images([concepts.concept_ids[shot] for shot in shots])
            shift = 1 + number % (len(COLOURS) - 1)
            scores["visual only"] = texts[tested] @ seen.T
            scores["both"] = scores["text only"] + scores["visual only"]
            scores["both, permuted"] = scores["text only"] + np.roll(scores["visual only"], shift, axis=1)
        for method in chosen:
            found[method].append(macro_accuracy(scores[method].argmax(axis=1), concepts.colours[tested]))
    return found


__all__ = ["COLOURS", "METHODS", "ColouredNames", "colour_accuracies", "coloured_names", "hue_fractions"]
