"""Metrics of a zero-shot classification: top-1 and top-5, their intervals, by class, and which classes are confused.

All are percentages. Of equal scores the class of the lower index is the nearer one.
"""

from collections import Counter

import numpy as np

from ..retrieval.confidence_interval import DRAWS, percent_interval
from .prediction_shards import FIRST, Predictions

CONFUSED = 20  # pairs of classes


def classification_metrics(
    labels: np.ndarray, found: Predictions, classes: int, *, seed: int = 0
) -> dict[str, float | list[float] | None]:
    """Return the metrics of a setting over n images.

    Args:
        labels: (n,) right class of each.
        found: the setting's predictions.
        classes: to choose from.
        seed: of the draws of the intervals.

    Returns:
        `top_1`, `top_5`: how often the right class is among the first 1 and 5; None with fewer than five classes.
        `macro_top_1`: mean of the classes' `top_1`.
        `permuted_top_1`, `permuted_top_5`: where each class has the name of another, a control that falls to chance.
        `chance_top_1`, `chance_top_5`: of guessing.
        `X_interval` of each but the last: 95 %, by a bootstrap over images, of the macro mean over classes.
    """
    ks = [1] + [FIRST] * (classes >= FIRST)
    hits = {f"top_{k}": (found.top[:, :k] == labels[:, None]).any(axis=1) for k in ks}
    hits |= {f"permuted_top_{k}": (found.permuted[:, :k] == labels[:, None]).any(axis=1) for k in ks}
    counts = np.bincount(labels, minlength=classes)
    by_class = {"macro_top_1": (np.bincount(labels, hits["top_1"], classes) / counts.clip(1))[counts > 0]}
    metrics: dict[str, float | list[float] | None] = {}
    for columns in (hits, by_class):
        means = draw_means(np.stack(list(columns.values()), axis=1), seed=seed)
        for (name, values), drawn in zip(columns.items(), means.T, strict=True):
            metrics |= {name: 100 * float(values.mean()), f"{name}_interval": percent_interval(drawn)}
    for k in (1, FIRST):
        metrics[f"chance_top_{k}"] = 100 * k / classes if k in ks else None
        for name in (f"top_{k}", f"permuted_top_{k}"):
            metrics.setdefault(name, None)
            metrics.setdefault(f"{name}_interval", None)
    return metrics


def draw_means(values: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Return (draws, m) the means of values (n, m) over rows that are drawn again, as many as there are."""
    rng = np.random.default_rng(seed)
    return np.stack([values[rng.integers(len(values), size=len(values))].mean(axis=0) for _ in range(DRAWS)])


def class_metrics(labels: np.ndarray, found: Predictions, classes: int) -> dict[str, np.ndarray]:
    """Return for each class, (classes,), `images`, `top_1` and `top_5` in percent, and its mean `margin`."""
    counts = np.bincount(labels, minlength=classes)

    def mean(values: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):  # NaN for a class without images
            return np.bincount(labels, values, classes) / counts

    hits = found.top == labels[:, None]
    return {
        "images": counts,
        "top_1": 100 * mean(hits[:, 0]),
        "top_5": 100 * mean(hits[:, :FIRST].any(axis=1)),
        "margin": mean(found.margin),
    }


def confused_pairs(labels: np.ndarray, found: Predictions) -> list[tuple[int, int, int]]:
    """Return (right class, predicted class, images) of the pairs that are confused most often."""
    pairs = Counter((int(label), int(top)) for label, top in zip(labels, found.top[:, 0], strict=True) if label != top)
    return [(*pair, count) for pair, count in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:CONFUSED]]


__all__ = ["CONFUSED", "class_metrics", "classification_metrics", "confused_pairs", "draw_means"]
