"""Unpadding: the padding inside the rows of a batch is moved to their end and cut off there."""

import torch
from torch import Tensor


def unpad(states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the real places of each row first and in order, their mask, and where each came from.

    Shapes: states (b, s, h) and mask (b, s) bool, True = real, become (b, t, h), (b, t) and (b, t) with t the number of
    real places of the fullest row.
    """
    length = int(mask.sum(dim=1).max())
    source = mask.int().argsort(dim=1, descending=True, stable=True)[:, :length]
    return states.gather(1, source[..., None].expand(-1, -1, states.shape[-1])), mask.gather(1, source), source


def restore_rows(states: Tensor, source: Tensor, length: int) -> Tensor:
    """Return (b, length, h): every (b, t, h) state back where it came from; zeros elsewhere."""
    places = source[..., None].expand_as(states)
    restored = torch.zeros(len(states), length, states.shape[-1], dtype=states.dtype, device=states.device)
    return restored.scatter(1, places, states)


__all__ = ["restore_rows", "unpad"]
