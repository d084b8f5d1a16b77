"""Texts that are true of more images than their own, such as a keyword that several concepts share."""

import torch
from torch import Tensor
from torch.nn import functional as F

from .gather_rows import gather_rows
from .momentum_queue import NO_GROUP


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


def gather_text_groups(text_groups: Tensor) -> Tensor:
    """Return the groups (n, g) of the texts of all processes, which may have unequal g."""
    width = int(gather_rows(text_groups.new_tensor([text_groups.shape[1]]))[0].max())
    return gather_rows(F.pad(text_groups, (0, width - text_groups.shape[1]), value=NO_GROUP))[0]


__all__ = ["gather_text_groups", "is_true", "pairs_of_one_group"]
