"""The half of a tower that is BriVL's own: a transformer over region or token vectors, pooled into one vector."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .configuration_brivl import BriVLTextConfig, BriVLVisionConfig


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of `states` over the positions where `mask` is 1: (b, d).

    Args:
        states: (b, n, d).
        mask: (b, n), 1 = real token or region; at least one per row.
    """
    weights = mask.to(states.dtype).unsqueeze(-1)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


class BriVLEncoder(nn.Module):
    """The transformer over region or token vectors, without positions; then the masked mean and a two-layer head."""

    gradient_checkpointing = False  # set by transformers, with the function
    _gradient_checkpointing_func: Callable[..., Tensor]

    def __init__(self, config: BriVLVisionConfig | BriVLTextConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.width,
                config.num_attention_heads,
                dim_feedforward=config.intermediate_size,
                dropout=config.hidden_dropout_prob,
                layer_norm_eps=config.layer_norm_eps,
                batch_first=True,
            )
            for _ in range(config.num_hidden_layers)
        )
        self.fc1 = nn.Linear(config.width, config.projection_dim)
        self.fc2 = nn.Linear(config.projection_dim, config.projection_dim)

    def forward(self, vectors: Tensor, mask: Tensor) -> BaseModelOutputWithPooling:
        """Return `last_hidden_state` (b, n, c) and the features `pooler_output` (b, d).

        Args:
            vectors: (b, n, c).
            mask: (b, n), 1 = real region or token.
        """
        states = F.normalize(vectors, dim=-1)
        padding = mask == 0
        for layer in self.layers:
            if self.gradient_checkpointing and self.training:
                states = self._gradient_checkpointing_func(layer, states, None, padding)
            else:
                states = layer(states, src_key_padding_mask=padding)
        features = self.fc2(F.relu(self.fc1(masked_mean(states, mask))))
        return BaseModelOutputWithPooling(last_hidden_state=states, pooler_output=features)


__all__ = ["BriVLEncoder", "masked_mean"]
