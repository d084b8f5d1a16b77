"""A BriVL and its processor, opened by the name that a user gave, and what identifies the processor."""

from os import PathLike

import torch

from ..data.files.hashing import hash_json
from ..data.files.model_folder import PROCESSOR, open_pretrained
from ..modeling_brivl.modeling_brivl import BriVLModel
from ..processing.processing_brivl import BriVLProcessor
from ..processing.text_inputs import check_tokenizer


def open_brivl(name: str | PathLike[str]) -> tuple[BriVLModel, BriVLProcessor]:
    """Return a BriVL in evaluation mode and float32, and its processor.

    Args:
        name: folder or hub id.

    Raises:
        MissingModelError: there is no such model.
        ValueError: it is of another kind, damaged, has weights that are not finite, or no tokenizer that fits it.
    """
    model: BriVLModel = open_pretrained(BriVLModel, name, dtype=torch.float32)
    processor: BriVLProcessor = open_pretrained(BriVLProcessor, name, file=PROCESSOR)
    check_tokenizer(processor.tokenizer, name, model.config.text_config.encoder_config.vocab_size)
    return model.eval(), processor


def hash_processor(processor: BriVLProcessor) -> str:
    """Return 16 hexadecimal digits that identify what a processor makes of images and texts."""
    vocabulary = sorted(processor.tokenizer.get_vocab().items())
    return hash_json([processor.to_json_string(), processor.image_processor.to_json_string(), vocabulary])


__all__ = ["hash_processor", "open_brivl"]
