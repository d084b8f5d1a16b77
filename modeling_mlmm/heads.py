"""Heads of MLMM over its states: words, region features, region classes and answers."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .configuration_mlmm import MLMMConfig


class MLMMTransform(nn.Module):
    """Linear layer, GELU, layer norm: what all heads but the linear ones begin with."""

    def __init__(self, in_features: int, out_features: int, eps: float) -> None:
        super().__init__()
        self.dense = nn.Linear(in_features, out_features)
        self.norm = nn.LayerNorm(out_features, eps=eps)

    def forward(self, states: Tensor) -> Tensor:
        """Return (..., out) for (..., in)."""
        return self.norm(F.gelu(self.dense(states)))


class MLMMMaskedLanguageHead(nn.Module):
    """States to words; `decoder.weight` is the table of the word embeddings. The same form as XLM-R's head."""

    def __init__(self, config: MLMMConfig) -> None:
        super().__init__()
        self.transform = MLMMTransform(config.hidden_size, config.hidden_size, config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)

    def forward(self, states: Tensor) -> Tensor:
        """Return (..., v) logits for (..., h) states."""
        return self.decoder(self.transform(states))


class MLMMRegionFeatureHead(nn.Module):
    """States to region features, through the transposed projection by which features came in."""

    def __init__(self, config: MLMMConfig) -> None:
        super().__init__()
        self.transform = MLMMTransform(config.hidden_size, config.hidden_size, config.encoder_layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.region_feature_dim))

    def forward(self, states: Tensor, feature_projection_weight: Tensor) -> Tensor:
        """Return (..., d) features for (..., h) states and the (h, d) weight."""
        return F.linear(self.transform(states), feature_projection_weight.t(), self.bias)


class MLMMClassifierHead(nn.Module):
    """States to classes: those of the detector for regions, answers for questions."""

    def __init__(self, hidden_size: int, inner_size: int, num_classes: int, eps: float) -> None:
        super().__init__()
        self.transform = MLMMTransform(hidden_size, inner_size, eps)
        self.classifier = nn.Linear(inner_size, num_classes)

    def forward(self, states: Tensor) -> Tensor:
        """Return (..., c) logits for (..., h) states."""
        return self.classifier(self.transform(states))


__all__ = ["MLMMClassifierHead", "MLMMMaskedLanguageHead", "MLMMRegionFeatureHead", "MLMMTransform"]
