"""Builders of an MLMM that runs in milliseconds, and of ragged batches for it."""

from typing import Any

import torch
from torch import Tensor
from wenlan.modeling_mlmm import (
    MLMMConfig,
    MLMMForImageTextRetrieval,
    MLMMForMaskedLM,
    MLMMForPreTraining,
    MLMMForVisualQuestionAnswering,
    MLMMModel,
)
from wenlan.modeling_mlmm.modeling_mlmm import MLMMPreTrainedModel

SIZES: dict[str, Any] = {
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


MODELS = (
    MLMMModel,
    MLMMForPreTraining,
    MLMMForMaskedLM,
    MLMMForImageTextRetrieval,
    MLMMForVisualQuestionAnswering,
)


def labels_for(model_class: type[MLMMPreTrainedModel]) -> dict[str, Tensor]:
    """Returns labels for `tiny_batch()` that reach every head of a model."""
    batch, config = tiny_batch(), tiny_config()
    masked = torch.zeros(batch["region_attention_mask"].shape, dtype=torch.bool)
    masked[:, 0] = True
    rows = len(masked)
    probs = torch.linspace(0, 1, config.num_region_classes).softmax(-1).expand(*masked.shape, -1)
    words = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    pretraining = {"itm_labels": torch.arange(rows) % 2, "mlm_labels": words, "masked_regions": masked}
    return {
        MLMMForPreTraining: {**pretraining, "mrfr_labels": batch["region_features"], "mrc_labels": probs},
        MLMMForMaskedLM: {"labels": words},
        MLMMForImageTextRetrieval: {"labels": (torch.arange(rows) == 0).long()},
        MLMMForVisualQuestionAnswering: {"labels": torch.linspace(0, 1, config.num_answers).repeat(rows, 1)},
    }.get(model_class, {})
