"""Word pieces and regions as rows of one sequence: the two embeddings of MLMM."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .configuration_mlmm import MLMMConfig


class MLMMTextEmbeddings(nn.Module):
    """Word, position and type embeddings of word pieces. Source: XLM-R; type row 0 is text, row 1 region (UC2)."""

    def __init__(self, config: MLMMConfig) -> None:
        super().__init__()
        self.pad_token_id, self.position_offset = config.pad_token_id, config.position_offset
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(2, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        input_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Return (b, l, h) for (b, l) token ids, or for (b, l, h) `inputs_embeds` in place of their word embeddings.

        Positions count the tokens that are no padding: by their ids, or by the (b, l) mask, without which all count.
        """
        if inputs_embeds is None:
            assert input_ids is not None
            is_token, inputs_embeds = input_ids != self.pad_token_id, self.word_embeddings(input_ids)
        elif attention_mask is None:
            is_token = torch.ones(inputs_embeds.shape[:2], dtype=torch.bool, device=inputs_embeds.device)
        else:
            is_token = attention_mask.bool()
        inputs_embeds = inputs_embeds.to(self.norm.weight.dtype)
        if position_ids is None:
            position_ids = (is_token.cumsum(dim=1) - 1 + self.position_offset).clamp(min=0)
        states = inputs_embeds + self.type_embedding(0, inputs_embeds.device)
        return self.dropout(self.norm(states + self.position_embeddings(position_ids)))

    def type_embedding(self, row: int, device: torch.device) -> Tensor:
        """Return the (h,) embedding of type 0, text, or 1, region.

        By a call of the table, since offloaded weights are there for calls only.
        """
        return self.token_type_embeddings(torch.full((), row, dtype=torch.long, device=device))


class MLMMRegionEmbeddings(nn.Module):
    """Feature and place of regions; they have no order, so the model treats them as a set. Source: UNITER, UC2.

    A masked region's feature is replaced by `mask_feature`; where it lies stays visible.
    """

    def __init__(self, config: MLMMConfig) -> None:
        super().__init__()
        hidden_size, eps = config.hidden_size, config.layer_norm_eps
        self.normalizes = config.normalize_region_features
        self.feature_projection = nn.Linear(config.region_feature_dim, hidden_size)
        self.feature_norm = nn.LayerNorm(hidden_size, eps=eps)
        self.box_projection = nn.Linear(config.region_box_dim, hidden_size)
        self.box_norm = nn.LayerNorm(hidden_size, eps=eps)
        self.mask_feature = nn.Parameter(torch.zeros(config.region_feature_dim))
        self.norm = nn.LayerNorm(hidden_size, eps=eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def normalize(self, features: Tensor) -> Tensor:
        """Return (..., d) features as the projection reads them: of mean 0 and variance 1, if the config says so."""
        return F.layer_norm(features, features.shape[-1:]) if self.normalizes else features

    def weight_for(self, states: Tensor) -> Tensor:
        """Return the (h, d) weight that projects features, with what an adapter adds to it; on the device of `states`.

        By a call where it is offloaded or adapted, since either is there for calls only.
        """
        projection = self.feature_projection
        if type(projection) is nn.Linear and not projection.weight.is_meta:
            return projection.weight
        units = torch.eye(len(self.mask_feature), dtype=states.dtype, device=states.device)
        return (projection(units) - projection(torch.zeros_like(units[:1]))).t()

    def forward(
        self, region_features: Tensor, region_boxes: Tensor, masked_regions: Tensor | None, type_embedding: Tensor
    ) -> Tensor:
        """Return (b, n, h) for (b, n, d) features, (b, n, 7) boxes, (b, n) bool masks and the (h,) type of regions."""
        dtype = self.feature_projection.weight.dtype
        features, boxes = self.normalize(region_features).to(dtype), region_boxes.to(dtype)
        if masked_regions is not None:
            features = torch.where(masked_regions[..., None], self.mask_feature, features)
        states = self.feature_norm(self.feature_projection(features)) + self.box_norm(self.box_projection(boxes))
        return self.dropout(self.norm(states + type_embedding))


__all__ = ["MLMMRegionEmbeddings", "MLMMTextEmbeddings"]
