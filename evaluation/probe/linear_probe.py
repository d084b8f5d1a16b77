"""A logistic regression on frozen features; its strength of regularisation is chosen on a part of the training set."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

C_GRID = tuple(10.0**power for power in range(-4, 3))  # of scikit-learn's C: small is strong
DEFAULT_C = 1.0  # where nothing can be chosen
VALIDATION_FRACTION = 0.2
MAX_ITERATIONS = 1000


def fit_linear(features: np.ndarray, labels: np.ndarray, *, c: float) -> "Pipeline":
    """Return scikit-learn's logistic regression on features scaled by the mean and deviation of these features.

    Args:
        features: (n, d).
        labels: (n,) indices of classes.
        c: inverse strength of regularisation.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise ImportError("A probe needs scikit-learn: pip install 'wenlan[few-shot]'") from error
    model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=MAX_ITERATIONS))
    return model.fit(features, labels)


def hold_out_validation(labels: np.ndarray, *, seed: int) -> np.ndarray:
    """Return (n,) True for a fifth of the images of each class, at least one of a class of two or more."""
    rng, held = np.random.default_rng(seed), np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        own = rng.permutation(np.flatnonzero(labels == label))
        if len(own) > 1:
            held[own[: max(1, round(VALIDATION_FRACTION * len(own)))]] = True
    return held


def choose_c(features: np.ndarray, labels: np.ndarray, *, seed: int) -> tuple[float, dict[float, float]]:
    """Return the C of `C_GRID` with the best accuracy on the validation part, the smallest of equals, and all of these.

    The features are scaled, and the model fitted, without the validation part. Where no class has two images nothing
    can be held out: then it is `DEFAULT_C`.
    """
    held = hold_out_validation(labels, seed=seed)
    if not held.any():
        return DEFAULT_C, {}
    accuracies = {
        c: 100 * float((fit_linear(features[~held], labels[~held], c=c).predict(features[held]) == labels[held]).mean())
        for c in C_GRID
    }
    return max(C_GRID, key=lambda c: (accuracies[c], -c)), accuracies


__all__ = ["C_GRID", "DEFAULT_C", "choose_c", "fit_linear", "hold_out_validation"]
