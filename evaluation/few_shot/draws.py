"""Statistics over the draws of a few-shot evaluation: mean, standard deviation, intervals, classes, confusions."""

from collections.abc import Sequence

import numpy as np

from ..retrieval.confidence_interval import DRAWS, percent_interval


def summarize(accuracies: Sequence[float] | np.ndarray, *, seed: int = 0) -> dict[str, float | int | list[float]]:
    """Return `mean`, `std` (of a sample), `n` and the 95 % `interval` of the mean, drawn again with replacement.

    All but n are in percent.

    Args:
        accuracies: (n,) fractions, one for each draw.
        seed: of the bootstrap.
    """
    values = np.asarray(accuracies, float)
    std = 100 * float(values.std(ddof=1)) if len(values) > 1 else 0.0
    drawn = np.random.default_rng(seed).integers(len(values), size=(DRAWS, len(values)))
    interval = percent_interval(values[drawn].mean(axis=1))
    return {"mean": 100 * float(values.mean()), "std": std, "n": len(values), "interval": interval}


def paired_difference(ours: Sequence[float], others: Sequence[float]) -> dict[str, float | int | list[float]]:
    """Return `summarize` of the differences of two methods on the same draws, in percentage points.

    Raises:
        ValueError: they have not as many draws.
    """
    if len(ours) != len(others):
        raise ValueError(f"{len(ours)} draws of one method and {len(others)} of the other cannot be paired.")
    return summarize(np.subtract(ours, others))


def accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Return the fraction of right predictions; both are (texts,)."""
    return float((predictions == labels).mean())


def macro_accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean of the classes' own accuracies, of those that occur; both are (texts,)."""
    return float(np.mean([(predictions[labels == label] == label).mean() for label in np.unique(labels)]))


def class_accuracies(predictions: np.ndarray, labels: np.ndarray, classes: int) -> list[float | None]:
    """Return the accuracy of each class over all draws, in percent; None for a class that does not occur.

    Args:
        predictions: (draws, texts).
        labels: (texts,).
        classes: how many there are.
    """
    right = predictions == labels
    return [100 * float(right[:, labels == one].mean()) if (labels == one).any() else None for one in range(classes)]


def confusion(predictions: np.ndarray, labels: np.ndarray, groups: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the percentage of each true group's texts, over all draws, that was found in each group.

    Args:
        predictions: (draws, texts).
        labels: (texts,).
        groups: of each class.
    """
    names = list(dict.fromkeys(groups))
    group_of = np.array([names.index(group) for group in groups])
    counts = np.zeros((len(names), len(names)))
    np.add.at(counts, (np.broadcast_to(group_of[labels], predictions.shape), group_of[predictions]), 1)
    rows = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return {name: dict(zip(names, row.tolist(), strict=True)) for name, row in zip(names, rows, strict=True)}


__all__ = ["accuracy", "class_accuracies", "confusion", "macro_accuracy", "paired_difference", "summarize"]
