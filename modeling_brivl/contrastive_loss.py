"""Similarity logits, and InfoNCE with any number of positives per row."""

import torch
from torch import Tensor


def similarity_logits(queries: Tensor, keys: Tensor, *, temperature: float) -> Tensor:
    """Return all dot products over temperature: (b, n) float32, also under autocast.

    In bfloat16 a cosine over a temperature of 0.07 would have steps of 0.1.

    Args:
        queries: (b, d) unit rows.
        keys: (n, d) unit rows.
    """
    with torch.autocast(queries.device.type, enabled=False):
        return queries.float() @ keys.float().T / temperature


def info_nce(logits: Tensor, positives: Tensor, negatives: Tensor | None = None) -> Tensor:
    """Return the mean over rows of the summed negative log-likelihoods of the positives: a scalar.

    As in the original, a row with several positives is not divided by their number.

    Args:
        logits: (b, k) similarities over temperature, in float32.
        positives: (b, k) bool, the entries to be identified.
        negatives: (b, k) bool, the entries to be told apart from; everything else is left out. None: all the rest.
    """
    if negatives is not None:
        logits = logits.masked_fill(~(positives | negatives), torch.finfo(logits.dtype).min)
    return -(logits.log_softmax(dim=1).masked_fill(~positives, 0).sum(dim=1)).mean()


__all__ = ["info_nce", "similarity_logits"]
