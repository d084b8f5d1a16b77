"""Classification by the nearest training images: a vote of the k most similar ones by cosine."""

from collections.abc import Sequence

import numpy as np

KS = (1, 5, 20)
CHUNK = 1024  # images at a time


def knn_predictions(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, *, ks: Sequence[int] = KS
) -> dict[int, np.ndarray]:
    """Return (images,) the class of most of the k nearest training images, for each k that there are as many of.

    Of classes with as many votes the one with the greater sum of cosines wins, then the lower index; of training images
    equally near the first.

    Args:
        train: (n, d) features.
        labels: (n,) indices of their classes.
        test: (images, d) features.
        ks: numbers of neighbours.
    """
    ks = [k for k in ks if k <= len(train)]
    train, test = _normalise(train), _normalise(test)
    num_classes, found = int(labels.max()) + 1, {k: list[np.ndarray]() for k in ks}
    for start in range(0, len(test), CHUNK):
        cosines = test[start : start + CHUNK] @ train.T
        nearest = np.argsort(-cosines, axis=1, kind="stable")[:, : max(ks)]
        rows = np.arange(len(cosines))[:, None]
        for k in ks:
            own = nearest[:, :k]
            votes, sums = np.zeros((2, len(cosines), num_classes))
            np.add.at(votes, (rows, labels[own]), 1)
            np.add.at(sums, (rows, labels[own]), cosines[rows, own])
            sums[votes < votes.max(axis=1, keepdims=True)] = -np.inf
            found[k].append(sums.argmax(axis=1))
    return {k: np.concatenate(parts) for k, parts in found.items()}


def _normalise(features: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(norms == 0, 1, norms)


__all__ = ["KS", "knn_predictions"]
