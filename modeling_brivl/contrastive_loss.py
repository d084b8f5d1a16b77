"""Similarity logits, InfoNCE with any number of positives per row, and texts that are true of several groups."""

import torch
from torch import Tensor

from .momentum_queue import NO_GROUP


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


def is_true(text_groups: Tensor, image_groups: Tensor) -> Tensor:
    """Return (texts, images) bool: the group of an image, if known, is among the groups (texts, g) of a text."""
    true = torch.zeros(len(text_groups), len(image_groups), dtype=torch.bool, device=image_groups.device)
    for groups in text_groups.T:
        true |= groups[:, None] == image_groups
    return true & (image_groups != NO_GROUP)


def pairs_of_one_group(
    image_keys: Tensor, text_keys: Tensor, group_ids: Tensor, text_groups: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the image keys, text keys and groups of the texts that are true of no more than one group."""
    image_of = torch.arange(len(image_keys), device=group_ids.device).repeat_interleave(
        len(text_keys) // len(image_keys)
    )
    kept = (text_groups != NO_GROUP).sum(dim=1) <= 1
    return image_keys[image_of[kept]], text_keys[kept], group_ids[image_of[kept]]


__all__ = ["info_nce", "is_true", "pairs_of_one_group", "similarity_logits"]
