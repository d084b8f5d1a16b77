"""Folders of tiny MLMMs as a user has them: model, processor and detector in one."""

from pathlib import Path

import numpy as np
from helpers.mlmm.tiny import tiny_config
from helpers.perturb import perturb
from helpers.regions.tiny_detector import tiny_detector
from PIL import Image
from wenlan.modeling_mlmm import MLMMForPreTraining, MLMMForVisualQuestionAnswering
from wenlan.modeling_region_detector import RegionImageProcessor
from wenlan.processing import MLMMProcessor, load_small_tokenizer

ANSWERS = ("yes", "no", "red", "2", "猫", "はい", "두 개")


def write_detector(folder: Path) -> Path:
    """Writes a tiny detector with random weights."""
    tiny_detector().save_pretrained(folder)
    RegionImageProcessor(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)
    return folder


def write_model(folder: Path, model_class: type = MLMMForVisualQuestionAnswering, **overrides) -> Path:
    """Writes a tiny MLMM with random weights, its processor, and a copy of a tiny detector."""
    detector = write_detector(folder.parent / f"{folder.name}-detector")
    tokenizer, width = load_small_tokenizer(), tiny_detector().config.feature_dim
    sizes = {"vocab_size": len(tokenizer), "region_feature_dim": width, "max_position_embeddings": 64}
    names = {"id2label": dict(enumerate(ANSWERS)), "label2id": {name: index for index, name in enumerate(ANSWERS)}}
    values = sizes | (names if model_class is MLMMForVisualQuestionAnswering else {}) | overrides
    perturb(model_class(tiny_config(num_labels=len(ANSWERS), **values))).save_pretrained(folder)
    processor = MLMMProcessor(tokenizer, 60, width, str(detector), min_boxes=3, max_boxes=6)
    processor.save_pretrained(folder, copy_detector=True)
    return folder


def noise_image(seed: int = 0, width: int = 64, height: int = 48) -> Image.Image:
    """Returns an image of coloured noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.NEAREST)


__all__ = ["ANSWERS", "MLMMForPreTraining", "noise_image", "write_detector", "write_model"]
