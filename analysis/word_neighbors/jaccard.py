"""The Jaccard index of the neighbours of a word in two spaces, which the paper calls Cartesian (figure 7)."""

from collections.abc import Sequence

import numpy as np

from .statistics import mean_interval

KS = (10, 20, 50, 100)  # the paper does not give its K; figures show the last
LISTED, FREQUENT = 200, 20_000  # words in the lists of the least and the most similar, and their frequency rank


def jaccard(one: np.ndarray, other: np.ndarray, k: int) -> np.ndarray:
    """Return (q,) the fraction of the first k neighbours in either list that are in both.

    Args:
        one, other: (q, k or more) neighbours of the same words, the nearest first.
        k: neighbours.

    Raises:
        ValueError: the lists are of other words, or shorter.
    """
    if len(one) != len(other):
        raise ValueError(f"There are neighbours of {len(one)} words in one space and of {len(other)} in the other.")
    if k > min(one.shape[1], other.shape[1]):
        raise ValueError(f"There are {min(one.shape[1], other.shape[1])} neighbours of a word, not {k}.")
    merged = np.sort(np.concatenate([one[:, :k], other[:, :k]], axis=1), axis=1)
    shared = (merged[:, 1:] == merged[:, :-1]).sum(axis=1)
    return shared / (2 * k - shared)


def expected_by_chance(words: int, k: int) -> float:
    """Return the Jaccard index of two lists of k that are drawn at random of all words but one."""
    return k / (2 * (words - 1) - k)


def summarize(
    one: np.ndarray, other: np.ndarray, *, words: int, ks: Sequence[int] = KS, seed: int = 0
) -> dict[str, dict[str, object]]:
    """Return by K the `mean` Jaccard index, its 95 % `interval` over words, `n`, the `median`, and `chance`.

    Args:
        one, other: (q, k or more) neighbours of the same words.
        words: of the vocabulary.
        ks: the numbers of neighbours.
        seed: of the bootstrap.
    """
    found: dict[str, dict[str, object]] = {}
    for k in ks:
        values = jaccard(one, other, k)
        about = {"median": float(np.median(values)), "chance": expected_by_chance(words, k)}
        found[f"K={k}"] = {**mean_interval(values, seed=seed), **about}
    return found


def extremes(values: np.ndarray, queries: np.ndarray, *, number: int = LISTED) -> tuple[np.ndarray, np.ndarray]:
    """Return the places, in `queries`, of the frequent words of the least and of the greatest values.

    Args:
        values: (q,).
        queries: (q,) indices of the words in a vocabulary whose most frequent ones come first.
        number: of each; fewer where there are fewer.
    """
    frequent = np.flatnonzero(queries < FREQUENT)
    order = frequent[np.argsort(values[frequent], kind="stable")]
    number = min(number, len(order) // 2)
    return order[:number], order[::-1][:number]


__all__ = ["FREQUENT", "KS", "LISTED", "expected_by_chance", "extremes", "jaccard", "summarize"]
