"""A saved tiny BriVL with its processor: what a user's model folder holds."""

from pathlib import Path

import torch
from helpers.brivl.tiny import IMAGE_SIZE, TEXT_LENGTH, TINY_BERT, tiny_config
from helpers.perturb import perturb
from wenlan.modeling_brivl import BriVLModel
from wenlan.processing import BriVLImageProcessor, BriVLProcessor, build_character_tokenizer

SENTENCES = ["红色的苹果", "一只猫", "雪山和湖", "猫", "苹果和雪", "红色的湖和一只猫"]


def save_tiny_folder(folder: Path, *, attend_padding: bool = False, **objective) -> BriVLModel:
    """Saves a perturbed model whose vocabulary is that of `SENTENCES`, and its processor; returns the model.

    The weights are the same each time; `objective` are fields of `BriVLConfig`.
    """
    torch.manual_seed(0)
    tokenizer = build_character_tokenizer(SENTENCES, max_length=TEXT_LENGTH)
    text = {"encoder_config": {**TINY_BERT, "vocab_size": len(tokenizer)}, "attend_padding": attend_padding}
    model = perturb(BriVLModel(tiny_config(text=text, **objective)))
    model.save_pretrained(folder)
    image_processor = BriVLImageProcessor(size=IMAGE_SIZE, max_regions=5)
    processor = BriVLProcessor(image_processor, tokenizer, TEXT_LENGTH, pad_to_max_length=attend_padding)
    processor.save_pretrained(folder)
    return model
