"""The terms of the objective: how far embeddings are from a target, and how rough and how pale an image is."""

from typing import Literal

from torch import Tensor

Distance = Literal["cosine", "spherical"]


def embedding_loss(cosines: Tensor, distance: Distance = "cosine") -> Tensor:
    """Return the loss of cosine similarities, elementwise: their negative (the paper's), or half the squared angle."""
    if distance == "cosine":
        return -cosines
    # The arc cosine has an infinite slope at 1.
    return cosines.clamp(-1 + 1e-6, 1 - 1e-6).arccos() ** 2 / 2


def total_variation(images: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbours in columns plus that in rows, (b,), of (b, 3, h, w)."""
    return images.diff(dim=2).abs().mean(dim=(1, 2, 3)) + images.diff(dim=3).abs().mean(dim=(1, 2, 3))


def contrast(images: Tensor) -> Tensor:
    """Return the mean squared distance from mid-grey, (b,), of images (b, 3, h, w)."""
    return (images - 0.5).square().mean(dim=(1, 2, 3))


__all__ = ["Distance", "contrast", "embedding_loss", "total_variation"]
