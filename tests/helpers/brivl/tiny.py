"""Builders of a BriVL that runs in milliseconds: 59 thousand parameters with its momentum towers, no dropout."""

import torch
from torch import Tensor
from wenlan.modeling_brivl import BriVLConfig, BriVLTextConfig, BriVLVisionConfig

VOCABULARY = 61
TEXT_LENGTH = 11
IMAGE_SIZE = 72  # a feature map of 3 x 3

TINY_BERT = {
    "model_type": "bert",
    "vocab_size": VOCABULARY,
    "hidden_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 28,
    "max_position_embeddings": 17,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def tiny_config(vision: dict | None = None, text: dict | None = None, **overrides) -> BriVLConfig:
    """Returns a configuration of odd sizes; `vision` and `text` change the towers, the rest the objective."""
    shared = {"projection_dim": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    vision_config = {
        "backbone": "test_efficientnet",
        "backbone_kwargs": {"channel_multiplier": 0.125, "pad_type": "same", "bn_eps": 1e-3},
        "image_size": IMAGE_SIZE,
        "hidden_size": 16,
        "grid_scales": [2, 1],
        "max_regions": 5,
        **shared,
        "hidden_dropout_prob": 0.0,
        **(vision or {}),
    }
    text_config = {
        "encoder_config": TINY_BERT,
        "max_text_length": TEXT_LENGTH,
        "attend_padding": False,
        **shared,
        "hidden_dropout_prob": 0.0,
        **(text or {}),
    }
    towers = {"vision_config": BriVLVisionConfig(**vision_config), "text_config": BriVLTextConfig(**text_config)}
    return BriVLConfig(**{"queue_size": 13, **towers, **overrides})


def texts(count: int, length: int = 7, seed: int = 2) -> Tensor:
    """Returns (count, length) token ids without padding."""
    return torch.randint(5, VOCABULARY, (count, length), generator=torch.Generator().manual_seed(seed))


def images(count: int, size: int = IMAGE_SIZE, seed: int = 3) -> Tensor:
    """Returns (count, 3, size, size) normalised pixels."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))
