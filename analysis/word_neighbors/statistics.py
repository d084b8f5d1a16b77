"""Means with intervals, paired differences, and rank correlations of similarities."""

from collections.abc import Sequence

import numpy as np

DRAWS, SIGNS = 1000, 10_000


def mean_interval(values: np.ndarray | Sequence[float], *, seed: int = 0) -> dict[str, float | int | list[float]]:
    """Return `mean`, `n`, and the 95 % `interval` of the mean by a bootstrap.

    Args:
        values: (n,).
        seed: of the draws.
    """
    values, rng = np.asarray(values, float), np.random.default_rng(seed)
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(DRAWS)]
    interval = np.percentile(means, [2.5, 97.5]).tolist()
    return {"mean": float(values.mean()), "n": len(values), "interval": interval}


def paired_test(differences: np.ndarray | Sequence[float], *, seed: int = 0) -> dict[str, float | int | list[float]]:
    """Return `mean_interval` of paired differences, and `p`: how often random signs give a mean as far from 0.

    Args:
        differences: (n,) of pairs that are independent of each other.
        seed: of the signs.
    """
    values, rng = np.asarray(differences, float), np.random.default_rng(seed)
    sums = [(2 * rng.integers(2, size=(DRAWS, len(values)), dtype=np.int8) - 1) @ values for _ in range(SIGNS // DRAWS)]
    as_far = (np.abs(sums) >= abs(values.sum()) - 1e-9).sum()
    return mean_interval(values, seed=seed) | {"p": float((1 + as_far) / (1 + SIGNS))}


def rank_rows(table: np.ndarray) -> np.ndarray:
    """Return (n, n - 1) the ranks in each row of a table (n, n) but on the diagonal, centred and of length 1.

    The product of two such rows is Spearman's correlation.
    """
    others = table[~np.eye(len(table), dtype=bool)].reshape(len(table), -1)
    ranks = others.argsort(axis=1).argsort(axis=1) - (others.shape[1] - 1) / 2
    return ranks / np.linalg.norm(ranks, axis=1, keepdims=True)


__all__ = ["mean_interval", "paired_test", "rank_rows"]
