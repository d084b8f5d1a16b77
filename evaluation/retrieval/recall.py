"""Recall@k: of retrieval in general, and between images and their captions in both directions.

Ties are counted pessimistically: a wrong candidate with the score of the right one stands before it.
"""

from collections.abc import Sequence

import numpy as np


def recall_at_k(similarity: np.ndarray, relevant: np.ndarray, ks: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """Return the percentage of queries with a relevant candidate among the first k, and what chance would reach.

    A tie with a candidate that is not relevant counts against the query, so a collapsed model scores 0.

    Args:
        similarity: (queries, candidates).
        relevant: (queries, candidates) bool, at least one per query.
        ks: the ranks to report.

    Returns:
        `R@k` and `chance_R@k` for every k, in percent.

    Raises:
        ValueError: for similarities that are not finite, or a query without a relevant candidate.
    """
    if not np.isfinite(similarity).all():
        raise ValueError("The similarities hold NaN or infinity: the embeddings are broken.")
    if not relevant.any(axis=1).all():
        raise ValueError(f"Query {int(np.argmin(relevant.any(axis=1)))} has no relevant candidate.")
    rank = best_ranks(similarity, relevant)
    return rank_recalls(rank, relevant.sum(axis=1), similarity.shape[1], ks)


def rank_recalls(
    ranks: np.ndarray, right: np.ndarray, candidates: int, ks: Sequence[int] = (1, 5, 10)
) -> dict[str, float]:
    """Return what `recall_at_k` does.

    Args:
        ranks: (queries,) from 0, of the best relevant candidate.
        right: (queries,) how many candidates are relevant.
        candidates: how many there are.
        ks: the ranks to report.
    """
    number, queries = np.unique(right, return_counts=True)
    recalls = {f"R@{k}": 100 * float((ranks < k).mean()) for k in ks}
    for k in ks:
        # 1 - probability that k draws without replacement miss all relevant candidates
        misses = [np.prod([(candidates - r - i) / (candidates - i) for i in range(min(k, candidates))]) for r in number]
        recalls[f"chance_R@{k}"] = 100 * (1 - float(np.average(misses, weights=queries)))
    return recalls


def best_ranks(similarity: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Return (queries,) the rank, from 0, of the best relevant candidate of each query."""
    best = np.where(relevant, similarity, -np.inf).max(axis=1, keepdims=True)
    return ((similarity >= best) & ~relevant).sum(axis=1)


def precision_at_k(similarity: np.ndarray, relevant: np.ndarray, k: int = 10) -> np.ndarray:
    """Return (queries,) the fraction of relevant candidates among the first k; chance is their fraction among all.

    Of candidates with equal scores, the relevant ones come last.

    Args:
        similarity: (queries, candidates).
        relevant: (queries, candidates) bool.
        k: the first so many; all, if there are fewer.
    """
    first = np.lexsort((relevant, -similarity), axis=1)[:, :k]
    return np.take_along_axis(relevant, first, axis=1).mean(axis=1)


def retrieval_recalls(
    scores: np.ndarray, owners: np.ndarray | Sequence[int], *, ks: Sequence[int] = (1, 5, 10)
) -> dict[str, float]:
    """Return the recalls of both directions in percent and their mean.

    A text finds the one image that it belongs to; an image finds any of its texts, of which there may be several.

    Args:
        scores: (texts, images), higher = they match better.
        owners: (texts,) index of the image of each text, in any order.
        ks: the ranks to report.

    Returns:
        `t2i_R@k`, `i2t_R@k`, `t2i_chance_R@k`, `i2t_chance_R@k`, and `mean_recall`, the mean of the R@k of both.

    Raises:
        ValueError: for scores that are not finite, owners that do not fit them, or an image without a text.
    """
    scores, owners = _checked(scores, owners)
    images = scores.shape[1]
    relevant = owners[:, None] == np.arange(images)
    if not relevant.any(axis=0).all():
        without = int(np.argmin(relevant.any(axis=0)))
        raise ValueError(f"Image {without} has no text; leave out the column of an image that nothing describes.")
    results = {f"t2i_{name}": value for name, value in recall_at_k(scores, relevant, ks).items()}
    results |= {f"i2t_{name}": value for name, value in recall_at_k(scores.T, relevant.T, ks).items()}
    results["mean_recall"] = float(np.mean([value for name, value in results.items() if "chance" not in name]))
    return results


def fold_recalls(
    scores: np.ndarray,
    owners: np.ndarray | Sequence[int],
    folds: int | Sequence[Sequence[int]],
    *,
    ks: Sequence[int] = (1, 5, 10),
) -> dict[str, float]:
    """Return `retrieval_recalls` averaged over folds, each of which ranks its own images and texts only.

    Five folds of 1,000 images are the 1K protocol of the 5,000 test images of MSCOCO.

    Args:
        scores: (texts, images), higher = they match better.
        owners: (texts,) index of the image of each text.
        folds: the image indices of each fold, or so many equal parts of the images in their order.
        ks: the ranks to report.

    Raises:
        ValueError: as `retrieval_recalls` does, or the images cannot be cut into so many equal parts.
    """
    scores, owners = _checked(scores, owners)
    total = scores.shape[1]
    if isinstance(folds, int):
        if folds < 1 or total % folds:
            raise ValueError(f"{total} images cannot be cut into {folds} equal folds.")
        parts = list(np.arange(total).reshape(folds, -1))
    else:
        parts = [np.asarray(images) for images in folds]
    if not parts:
        raise ValueError("folds is empty.")
    results = []
    for number, images in enumerate(parts):
        if set(images.tolist()) - set(range(total)) or len(set(images.tolist())) < len(images):
            raise ValueError(f"Fold {number} names an image twice, or one that is not among 0 to {total - 1}.")
        # the column of an image within the fold, -1 outside of it
        column = np.full(total, -1)
        column[images] = np.arange(len(images))
        texts = np.flatnonzero(column[owners] >= 0)
        results.append(retrieval_recalls(scores[np.ix_(texts, images)], column[owners[texts]], ks=ks))
    return {name: float(np.mean([result[name] for result in results])) for name in results[0]}


def _checked(scores: np.ndarray, owners: np.ndarray | Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    scores, owners = np.asarray(scores), np.asarray(owners)
    if scores.ndim != 2 or owners.shape != scores.shape[:1]:
        raise ValueError(f"scores is (texts, images) and owners (texts,); they are {scores.shape} and {owners.shape}.")
    outside = owners[(owners < 0) | (owners >= scores.shape[1])]
    if outside.size:
        raise ValueError(f"owners holds {outside[0]}, but the images are 0 to {scores.shape[1] - 1}.")
    return scores, owners


__all__ = ["best_ranks", "fold_recalls", "precision_at_k", "rank_recalls", "recall_at_k", "retrieval_recalls"]
