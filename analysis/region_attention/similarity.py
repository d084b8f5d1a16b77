"""Agreement of the attention of a sentence in several languages, by the Jensen-Shannon divergence in bits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

Interval = Callable[[np.ndarray, np.ndarray], list[float]]  # of scores and the images that they are of


@dataclass(frozen=True)
class LanguagePair:
    """Divergences of the words of one sentence in two languages.

    Attributes:
        languages: the two.
        divergence: (k, k) float32, row = word in the first language, column = word in the second, bits from 0 to 1.
    """

    languages: tuple[str, str]
    divergence: Tensor

    @property
    def translations(self) -> Tensor:
        """(k,) divergence of each word from its translation."""
        return self.divergence.diagonal()

    @property
    def different_words(self) -> Tensor:
        """(k * (k - 1),) divergence of each word from what translates another word."""
        return self.divergence[~torch.eye(len(self.divergence), dtype=torch.bool)]

    @property
    def is_closer(self) -> Tensor:
        """(k * (k - 1),) bool: a word is nearer to its translation than to what translates another word."""
        return self.translations.repeat_interleave(len(self.divergence) - 1) < self.different_words


def jensen_shannon(first: Tensor, second: Tensor) -> Tensor:
    """Return the divergence (...) of distributions (..., n) in bits: 0 for equal ones, 1 where they share nothing."""
    middle = (first + second) / 2

    def relative_entropy(weights: Tensor) -> Tensor:
        ratio = torch.where(weights > 0, weights / middle.clamp(min=torch.finfo(weights.dtype).tiny), 1)
        return (weights * ratio.log2()).sum(dim=-1)

    return ((relative_entropy(first) + relative_entropy(second)) / 2).clamp(0, 1)


def language_pairs(weights: Mapping[str, Tensor]) -> list[LanguagePair]:
    """Return the divergences of each two languages.

    Args:
        weights: of each language, (k, n) of its k words over n regions; word i of one translates word i of another.
    """
    return [
        LanguagePair((first, second), jensen_shannon(weights[first][:, None], weights[second][None]))
        for first, second in combinations(weights, 2)
    ]


def summarize_pairs(images: Sequence[Sequence[LanguagePair]], interval: Interval | None) -> dict[str, object]:
    """Return how often a word is nearer to its translation than to another word, and the mean divergences, in bits.

    Args:
        images: of each image the pairs of languages of its sentence.
        interval: of a mean over images; None: of one image, for which there is none.

    Returns:
        `pairs` (of a word with a translation and with another word), `fraction`, its `interval` and `chance`,
        `translations` and `different_words`: mean divergences. None where no sentence has two words.
    """
    pairs = [(number, pair) for number, image in enumerate(images) for pair in image]
    closer = np.concatenate([np.zeros(0), *(pair.is_closer.numpy() for _, pair in pairs)])
    owners = np.repeat([number for number, _ in pairs], [len(pair.is_closer) for _, pair in pairs])
    return {
        "pairs": len(closer),
        "fraction": float(closer.mean()) if len(closer) else None,
        "interval": interval(closer, owners) if len(closer) and interval else None,
        "chance": 0.5,
        "translations": _mean([pair.translations for _, pair in pairs]),
        "different_words": _mean([pair.different_words for _, pair in pairs]),
    }


def divergence_table(images: Sequence[Mapping[str, Tensor]]) -> dict[str, dict[str, object]]:
    """Return of each two languages, as "zh-en", the mean divergence of translations and of different words, in bits.

    Args:
        images: of each image, language -> weights, as for `language_pairs`.

    Returns:
        `translations` and `different_words`: means over all images, and of one image also `words`: the (k, k) itself.
    """
    pairs: dict[str, list[LanguagePair]] = {}
    for weights in images:
        for pair in language_pairs(weights):
            pairs.setdefault("-".join(pair.languages), []).append(pair)
    return {
        name: {
            "translations": _mean([pair.translations for pair in found]),
            "different_words": _mean([pair.different_words for pair in found]),
        }
        | ({"words": found[0].divergence.tolist()} if len(images) == 1 else {})
        for name, found in pairs.items()
    }


def _mean(parts: Sequence[Tensor]) -> float | None:
    values = torch.cat([torch.zeros(0), *parts])
    return float(values.mean()) if len(values) else None


__all__ = ["Interval", "LanguagePair", "divergence_table", "jensen_shannon", "language_pairs", "summarize_pairs"]
