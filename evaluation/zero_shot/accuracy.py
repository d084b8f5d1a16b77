"""Zero-shot classification by the nearest class embedding."""

import numpy as np

from ..retrieval.recall import recall_at_k


def mean_embedding(embeddings: np.ndarray) -> np.ndarray:
    """Return the unit vector of the mean of some unit vectors: a class prototype. (n, d) to (d,)."""
    mean = embeddings.mean(axis=0)
    return mean / np.linalg.norm(mean)


def top_k_accuracy(
    image_embeds: np.ndarray, class_embeds: np.ndarray, labels: np.ndarray, ks: tuple[int, ...] = (1, 5)
) -> dict[str, float]:
    """Return `top-k` and `chance_top-k` in percent: how often the right class is among the k most similar ones.

    A tie with a wrong class counts as an error.

    Args:
        image_embeds: (images, d) unit rows.
        class_embeds: (classes, d) unit rows.
        labels: (images,) index of the right class.
        ks: how many guesses are allowed.
    """
    recalls = recall_at_k(image_embeds @ class_embeds.T, labels[:, None] == np.arange(len(class_embeds)), ks)
    return {name.replace("R@", "top-"): value for name, value in recalls.items()}


__all__ = ["mean_embedding", "top_k_accuracy"]
