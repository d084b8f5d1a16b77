"""The few-shot curve: a linear probe on 1, 2, 4, 8 and 16 training images a class, several draws each."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..few_shot.draws import accuracy, summarize
from .linear_probe import DEFAULT_C, fit_linear

SHOTS = (1, 2, 4, 8, 16)
DRAWS = 5


def draw_shots(labels: np.ndarray, shots: int, *, seed: Sequence[int]) -> np.ndarray:
    """Return the places of `shots` images of each class (classes * shots,).

    Raises:
        ValueError: a class has fewer.
    """
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [rng.choice(np.flatnonzero(labels == label), shots, replace=False) for label in np.unique(labels)]
    )


def few_shot_curve(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    *,
    shots: Sequence[int] = SHOTS,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return `shots`, the `accuracies` of the draws and what `summarize` says of them, for what every class has enough.

    C is `DEFAULT_C`: of one image a class nothing can be held out to choose it, and more labels would be no few shots.

    Args:
        train, test: (n, d) features.
        train_labels, test_labels: (n,) indices of classes.
        shots: images a class.
        draws: of each number.
        seed: draw i of s shots has the seed (seed, s, i).
    """
    smallest = np.unique(train_labels, return_counts=True)[1].min()
    points = []
    for number in (number for number in shots if number <= smallest):
        accuracies = []
        for draw in range(draws):
            chosen = draw_shots(train_labels, number, seed=(seed, number, draw))
            model = fit_linear(train[chosen], train_labels[chosen], c=DEFAULT_C)
            accuracies.append(accuracy(model.predict(test), test_labels))
        percentages = [100 * one for one in accuracies]
        points.append({"shots": number, **summarize(accuracies), "accuracies": percentages})
    return points


__all__ = ["DRAWS", "SHOTS", "draw_shots", "few_shot_curve"]
