"""Confidence intervals of recalls: a bootstrap over images, each with all of its captions.

Each query keeps its rank among all candidates: drawn is who asks, not who is found.
"""

from collections.abc import Sequence

import numpy as np

from .recall import best_ranks

DRAWS = 1000


def draw_recalls(by_image: np.ndarray, by_captions: np.ndarray, captions: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Return (draws, 2, m) the means over images and over captions, in each draw of as many images as there are.

    Args:
        by_image: (images, m) what is averaged over images, such as hits within k.
        by_captions: (images, m) what is averaged over captions, added up over those of each image.
        captions: (images,) how many captions each image has.
        seed: of the draws.
    """
    rng, means = np.random.default_rng(seed), []
    for _ in range(DRAWS):
        drawn = rng.integers(len(by_image), size=len(by_image))
        means.append([by_image[drawn].mean(axis=0), by_captions[drawn].sum(axis=0) / captions[drawn].sum()])
    return np.array(means)


def percent_interval(means: np.ndarray) -> list[float]:
    """Return the 2.5th and the 97.5th percentile of the means of the draws (draws,), in percent."""
    return (100 * np.percentile(means, [2.5, 97.5])).tolist()


def mean_recall_interval(
    folds: Sequence[tuple[np.ndarray, np.ndarray]], *, ks: Sequence[int] = (1, 5, 10), seed: int = 0
) -> list[float]:
    """Return the interval of the mean recall when images are drawn again, in percent.

    Args:
        folds: scores (texts, images) and owners (texts,) of each, as for `retrieval_recalls`.
        ks: the ranks whose recalls are averaged.
        seed: of the draws.
    """
    rows = []
    for scores, owners in folds:
        relevant = owners[:, None] == np.arange(scores.shape[1])
        by_text, by_image = mean_hits(scores, relevant, ks), mean_hits(scores.T, relevant.T, ks)
        rows.append([by_image, np.bincount(owners, by_text), np.bincount(owners)])
    by_image, by_captions, captions = np.concatenate(rows, axis=1)
    drawn = draw_recalls(by_image[:, None], by_captions[:, None], captions, seed=seed)
    return percent_interval(drawn.mean(axis=(1, 2)))


def mean_hits(scores: np.ndarray, relevant: np.ndarray, ks: Sequence[int]) -> np.ndarray:
    """Return (queries,) the fraction of `ks` within which a query finds a relevant candidate; ties count against it.

    Scores and relevance (bool) are (queries, candidates).
    """
    rank = best_ranks(scores, relevant)
    return np.mean([rank < k for k in ks], axis=0)


__all__ = ["draw_recalls", "mean_hits", "mean_recall_interval", "percent_interval"]
