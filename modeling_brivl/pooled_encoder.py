"""The half of a tower that is BriVL's own: a transformer over region or token vectors, pooled into one vector.

Its weights have the names of `nn.TransformerEncoderLayer`, which the original is made of.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.bert.modeling_bert import eager_attention_forward

from .configuration_brivl import BriVLTextConfig, BriVLVisionConfig


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of `states` over the positions where `mask` is 1: (b, d).

    Args:
        states: (b, n, d).
        mask: (b, n), 1 = real token or region; at least one per row.
    """
    weights = mask.to(states.dtype).unsqueeze(-1)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


class BriVLAttention(nn.Module):
    """Attention of all positions to all real ones, by the function that `attn_implementation` names.

    Query, key and value have one weight, `in_proj_weight` (3c, c): a parameter, not a layer, as the original saves it.
    """

    is_causal = False

    def __init__(self, config: BriVLVisionConfig | BriVLTextConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.config = config
        self.head_dim = width // config.num_attention_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, states: Tensor, attention_mask: Any = None, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """Return the new states (b, n, c), and the attention weights (b, heads, n, n) where the function has them.

        Args:
            states: (b, n, c).
            attention_mask: what `create_bidirectional_mask` makes for the function.
        """
        projected = F.linear(states.transpose(0, 1), self.in_proj_weight, self.in_proj_bias)
        projected = projected.unflatten(-1, (3, -1, self.head_dim))
        queries, keys, values = projected.permute(2, 1, 3, 0, 4).unbind()  # (b, heads, n, head_dim) each
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        attended, weights = attend(
            self,
            queries,
            keys,
            values,
            attention_mask,
            dropout=self.config.hidden_dropout_prob if self.training else 0.0,
            scaling=self.head_dim**-0.5,
            **kwargs,
        )
        rows = attended.flatten(2).transpose(0, 1)
        return self.out_proj(rows.flatten(0, 1)).view_as(rows).transpose(0, 1), weights


class BriVLEncoderLayer(GradientCheckpointingLayer):
    """Attention and two linear layers, each added to its input and normalised after it."""

    def __init__(self, config: BriVLVisionConfig | BriVLTextConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.self_attn = BriVLAttention(config)
        self.linear1 = nn.Linear(width, config.intermediate_size)
        self.linear2 = nn.Linear(config.intermediate_size, width)
        self.norm1 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.norm2 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, states: Tensor, attention_mask: Any = None, **kwargs: Any) -> Tensor:
        """Return the new states (b, n, c); arguments as in `BriVLAttention`."""
        attended, _ = self.self_attn(states, attention_mask, **kwargs)
        states = self.norm1(states + self.dropout(attended))
        hidden = self.dropout(F.relu(self.linear1(states)))
        return self.norm2(states + self.dropout(self.linear2(hidden)))


class BriVLEncoder(nn.Module):
    """The transformer over region or token vectors, without positions; then the masked mean and a two-layer head."""

    def __init__(self, config: BriVLVisionConfig | BriVLTextConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(BriVLEncoderLayer(config) for _ in range(config.num_hidden_layers))
        self.fc1 = nn.Linear(config.hidden_size, config.projection_dim)
        self.fc2 = nn.Linear(config.projection_dim, config.projection_dim)

    def forward(self, vectors: Tensor, mask: Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Return `last_hidden_state` (b, n, c) and the features `pooler_output` (b, d).

        Args:
            vectors: (b, n, c).
            mask: (b, n), 1 = real region or token.
        """
        states = F.normalize(vectors, dim=-1)
        attention_mask = create_bidirectional_mask(self.config, states, mask)
        for layer in self.layers:
            states = layer(states, attention_mask, **kwargs)
        features = self.fc2(F.relu(self.fc1(masked_mean(states, mask))))
        return BaseModelOutputWithPooling(last_hidden_state=states, pooler_output=features)


__all__ = ["BriVLAttention", "BriVLEncoder", "BriVLEncoderLayer", "masked_mean"]
