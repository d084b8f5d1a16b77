"""Confidence interval of a mean recall: a bootstrap over images, each with all of its captions."""

from collections.abc import Sequence

import numpy as np

from .recall import best_ranks

DRAWS = 1000


def mean_recall_interval(
    folds: Sequence[tuple[np.ndarray, np.ndarray]], *, ks: Sequence[int] = (1, 5, 10), seed: int = 0
) -> list[float]:
    """Return the 2.5th and the 97.5th percentile of the mean recall when images are drawn again, in percent.

    Each query keeps its rank among all candidates of its fold: drawn is who asks, not who is found.

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
    by_image, by_texts, captions = np.concatenate(rows, axis=1)  # of each image; the second is a sum over captions
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(DRAWS):
        drawn = rng.integers(len(by_image), size=len(by_image))
        means.append((by_image[drawn].mean() + by_texts[drawn].sum() / captions[drawn].sum()) / 2)
    return (100 * np.percentile(means, [2.5, 97.5])).tolist()


def mean_hits(scores: np.ndarray, relevant: np.ndarray, ks: Sequence[int]) -> np.ndarray:
    """Return (queries,) the fraction of `ks` within which a query finds a relevant candidate; ties count against it.

    Scores and relevance (bool) are (queries, candidates).
    """
    rank = best_ranks(scores, relevant)
    return np.mean([rank < k for k in ks], axis=0)


__all__ = ["mean_hits", "mean_recall_interval"]
