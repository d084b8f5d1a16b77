"""Reads the golden files (tests/fixtures/brivl, computed by the original classes) into our configuration and names."""

import json
from typing import Any

from helpers.paths import FIXTURES
from safetensors.torch import load_file
from wenlan.modeling_brivl import BriVLConfig, BriVLTextConfig, BriVLVisionConfig
from wenlan.modeling_brivl.original_checkpoint import convert_tower

GOLDEN = FIXTURES / "brivl"


def read_golden(case: str) -> tuple[dict, dict]:
    """Returns the tensors and the description of a case."""
    return load_file(GOLDEN / f"{case}.safetensors"), json.loads((GOLDEN / f"{case}.json").read_text("utf-8"))


def our_config(meta: dict, **overrides) -> BriVLConfig:
    """Returns our configuration for the original's configuration fields."""
    original = meta["model"]
    shared: dict[str, Any] = {
        "projection_dim": original["IMG_FEATURE_DIM"],
        "intermediate_size": meta["transformer_dim_feedforward"],
        "hidden_dropout_prob": 0.0,
    }
    vision: dict[str, Any] = {
        "backbone": meta["backbone"]["timm_name"],
        "backbone_kwargs": meta["backbone"]["kwargs"],
        "image_size": original["IMG_SIZE"],
        "hidden_size": original["IMG_FEATURE_DIM"],
        "num_hidden_layers": original["IMG_TRANSFORMER_LAYER"],
        "num_attention_heads": original["IMG_TRANSFORMER_HEAD"],
        "max_regions": original["MAX_IMG_LEN"],
        "region_samples": original["GRID_SIZE"],
        "grid_scales": [original["BOX_GRID"], 1],
        "trainable_backbone": [f"blocks.{i}" for i in (3, 4, 5, 6)],
        **shared,
    }
    text: dict[str, Any] = {
        "encoder_config": {
            "model_type": "bert",
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            **meta["bert"],
        },
        "num_hidden_layers": original["TEXT_TRANSFORMER_LAYER"],
        "num_attention_heads": original["TEXT_TRANSFORMER_HEAD"],
        "max_text_length": original["MAX_TEXT_LEN"],
        "trainable_backbone": [f"layer.{i}" for i in (8, 9, 10, 11)],
        **shared,
    }
    return BriVLConfig(
        vision_config=BriVLVisionConfig(**vision),
        text_config=BriVLTextConfig(**text),
        temperature=original["TEMPERATURE"],
        queue_size=original["QUEUE_SIZE"],
        momentum=original["MOMENTUM"],
        **overrides,
    )


def tower_state(tensors: dict, prefix: str) -> dict:
    """Returns the state dict of one tower in our names; `prefix` such as "ckpt.learnable.imgencoder."."""
    return convert_tower({key.removeprefix(prefix): tensors[key] for key in tensors if key.startswith(prefix)})
