"""Attention rollout: how much of each input a state of the last layer is made of, through all layers.

Each layer adds what it attends to to what was there; so each matrix is averaged with the identity, which stands for the
residual connection, and the matrices are multiplied. (Abnar and Zuidema, 2020, section 3.)
"""

import torch
from torch import Tensor


def attention_rollout(attentions: Tensor) -> Tensor:
    """Return the rollout (s, s) of the attention (layers, s, s) of all layers; its rows add up to 1.

    Args:
        attentions: from the first layer to the last, with joined heads; rows with another sum than 1, as a maximum over
            heads has, are scaled.
    """
    identity = torch.eye(attentions.shape[-1], dtype=attentions.dtype, device=attentions.device)
    rolled = identity
    for attention in attentions:
        mixed = attention / attention.sum(dim=-1, keepdim=True) + identity
        rolled = mixed / mixed.sum(dim=-1, keepdim=True) @ rolled
    return rolled


__all__ = ["attention_rollout"]
