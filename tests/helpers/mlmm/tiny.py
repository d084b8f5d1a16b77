"""Builders of an MLMM that runs in milliseconds, and of ragged batches for it."""

import torch
from torch import Tensor, nn
from wenlan.modeling_mlmm import MLMMConfig

SIZES = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 20,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "region_feature_dim": 10,
    "num_region_classes": 9,
}


def tiny_config(**overrides) -> MLMMConfig:
    """Returns a configuration of odd sizes without dropout."""
    return MLMMConfig(**{**SIZES, "num_labels": 7, **overrides})


@torch.no_grad()
def perturb(model: nn.Module, seed: int = 1) -> nn.Module:
    """Moves every parameter away from its start; returns the model in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def tiny_batch(lengths=(7, 3, 5), counts=(2, 6, 4), *, pad_text=0, pad_regions=0, seed=2) -> dict[str, Tensor]:
    """Returns padded inputs of texts with `lengths` tokens and images with `counts` regions."""
    generator = torch.Generator().manual_seed(seed)
    rows, width, n = len(lengths), max(lengths) + pad_text, max(counts) + pad_regions
    ids = torch.full((rows, width), 1)
    features, boxes = torch.zeros(rows, n, SIZES["region_feature_dim"]), torch.zeros(rows, n, 7)
    for row, (length, count) in enumerate(zip(lengths, counts, strict=True)):
        ids[row, :length] = torch.randint(4, SIZES["vocab_size"], (length,), generator=generator)
        features[row, :count] = torch.rand(count, features.shape[2], generator=generator)
        boxes[row, :count] = torch.rand(count, 7, generator=generator)
    return {
        "input_ids": ids,
        "attention_mask": (torch.arange(width) < torch.tensor(lengths)[:, None]).long(),
        "region_features": features,
        "region_boxes": boxes,
        "region_attention_mask": (torch.arange(n) < torch.tensor(counts)[:, None]).long(),
    }
