"""MLMM's masked language step the plain way, as the published code goes: padding everywhere, attention by hand."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from wenlan.modeling_mlmm import MLMMForPreTraining


def plain_states(model: MLMMForPreTraining, batch: dict[str, Tensor]) -> Tensor:
    """Return (b, l + n, h) from the weights of our model: the same values at all real places."""
    mlmm = model.mlmm
    text = mlmm.text_embeddings(batch["input_ids"])
    regions = mlmm.embed_regions(batch["region_features"], batch["region_boxes"])
    states = torch.cat([text, regions], dim=1)
    real = torch.cat([batch["attention_mask"], batch["region_attention_mask"]], dim=1)
    mask = (1.0 - real[:, None, None, :].float()) * -10000.0
    heads = model.config.num_attention_heads
    for layer in mlmm.encoder.layer:
        attention = layer.attention.self
        query, key, value = (
            project(states).unflatten(2, (heads, -1)).permute(0, 2, 1, 3)
            for project in (attention.query, attention.key, attention.value)
        )
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1]) + mask
        probs = F.dropout(scores.softmax(dim=-1), model.config.attention_probs_dropout_prob, model.training)
        context = (probs @ value).permute(0, 2, 1, 3).flatten(2)
        states = layer.attention.output(context, states)
        inner = layer.intermediate.dense(states)
        inner = inner * 0.5 * (1.0 + torch.erf(inner / math.sqrt(2.0)))
        states = layer.output(inner, states)
    return states


def plain_loss(model: MLMMForPreTraining, batch: dict[str, Tensor]) -> Tensor:
    """Return the MLM loss; as in the published code its head sees the masked words alone."""
    states = plain_states(model, batch)[:, : batch["input_ids"].shape[1]]
    masked = batch["mlm_labels"] != -100
    return F.cross_entropy(model.mlm_head(states[masked]), batch["mlm_labels"][masked])


__all__ = ["plain_loss", "plain_states"]
