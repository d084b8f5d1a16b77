"""Similarity logits, InfoNCE with any number of positives per row, and texts that are true of several groups."""

import torch
from torch import Tensor
from torch.nn import functional as F

from .momentum_queue import NO_GROUP, NegativeQueue


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


def in_batch_info_nce(
    logits_per_image: Tensor,
    group_ids: Tensor | None = None,
    text_groups: Tensor | None = None,
    *,
    group_positives: bool = False,
) -> Tensor:
    """Return the InfoNCE of b images and their n texts within a batch, both directions summed: ().

    Args:
        logits_per_image: (b, n) similarities over temperature; the texts of one image follow those of the one before,
            n / b each. Other texts of an image are neither its positives nor its negatives while one is.
        group_ids: (b,) int64, -1 = unknown. None: all are.
        text_groups: (n, g) int64, the groups that a text is true of: their images are no negatives. None: its image's.
        group_positives: they are positives.
    """
    images, texts = logits_per_image.shape
    places = torch.arange(images, device=logits_per_image.device)
    image_of = places.repeat_interleave(texts // images)
    if group_ids is None:
        group_ids = torch.full_like(places, NO_GROUP)
    true = is_true(group_ids[image_of, None] if text_groups is None else text_groups, group_ids)  # (n, b)
    own = image_of[:, None] == places
    text = torch.eye(texts, dtype=torch.bool, device=places.device)
    directions = (
        (logits_per_image[image_of], text, own[:, image_of], true.T[image_of]),  # (n, n) each
        (logits_per_image.T, own, own, true),  # (n, b) each
    )
    loss = logits_per_image.new_zeros(())
    for logits, positives, same_pair, fits in directions:
        if group_positives:
            positives = positives | (fits & ~same_pair)
        loss = loss + info_nce(logits, positives, ~(fits | same_pair))
    return loss


def contrast(
    queries: Tensor,
    keys: Tensor,
    batch: Tensor,
    queue: Tensor,
    *,
    own: Tensor,
    true: Tensor,
    near: Tensor,
    temperature: float,
    group_positives: bool,
) -> tuple[Tensor, Tensor]:
    """Return logits (n, 1 + m + k), of the own key, the m keys of the batch and the queue, and the loss.

    Args:
        queries, keys: (n, d) queries and their own keys.
        batch: (m, d) keys; none if only the queue is compared.
        queue: (k, d).
        own: (n, m) bool, keys of the query's own pair or of its image's other texts: neither positive nor negative.
        true: (n, m + k) bool, keys that fit the query: no negatives, and positives with `group_positives`.
        near: (n, k) bool, further positives of the queue.
    """
    logits = [(queries.float() * keys).sum(dim=1, keepdim=True) / temperature]
    logits += [similarity_logits(queries, others, temperature=temperature) for others in (batch, queue)]
    own = F.pad(own, (0, len(queue)))
    positives = F.pad(near, (len(batch), 0))
    if group_positives:
        positives |= true & ~own
    positives, negatives = F.pad(positives, (1, 0), value=True), F.pad(~(true | own), (1, 0))
    return torch.cat(logits, dim=1), info_nce(torch.cat(logits, dim=1), positives, negatives)


def near_pairs(image_keys: Tensor, text_keys: Tensor, queue: NegativeQueue, *, top_k: int) -> Tensor:
    """Return (b, k) bool: the queue pairs that are among the `top_k` nearest of a key in both queues; none for 0."""
    near = torch.ones(len(image_keys), len(queue.group_ids), dtype=torch.bool, device=image_keys.device)
    if top_k == 0:
        return ~near
    for keys, queued in ((image_keys, queue.image_keys), (text_keys, queue.text_keys)):
        similarity = similarity_logits(keys, queued, temperature=1.0)
        nearest = similarity.topk(top_k, dim=1).indices
        near &= torch.zeros_like(near).scatter_(1, nearest, True)
    return near


def pairs_of_one_group(
    image_keys: Tensor, text_keys: Tensor, group_ids: Tensor, text_groups: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the image keys, text keys and groups of the texts that are true of no more than one group."""
    image_of = torch.arange(len(image_keys), device=group_ids.device).repeat_interleave(
        len(text_keys) // len(image_keys)
    )
    kept = (text_groups != NO_GROUP).sum(dim=1) <= 1
    return image_keys[image_of[kept]], text_keys[kept], group_ids[image_of[kept]]


__all__ = [
    "contrast",
    "in_batch_info_nce",
    "info_nce",
    "is_true",
    "near_pairs",
    "pairs_of_one_group",
    "similarity_logits",
]
