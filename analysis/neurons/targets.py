"""Targets of the visualisation, all of them unit vectors in the embedding space: text, mixture, image, coordinate."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ...modeling_brivl.modeling_brivl import BriVLModel
from ...pipelines.embedding import embed_images, embed_texts
from ...processing.image_decoding import ImageSource
from ...processing.processing_brivl import BriVLProcessor
from ...processing.text_inputs import is_blank

PART = re.compile(r"\s*(?:(-?\d+(?:\.\d+)?)\s*\*)?(.*)", re.DOTALL)


@dataclass(frozen=True)
class Target:
    """A name to write below the image, and a unit vector (d,) on the CPU."""

    name: str
    vector: Tensor


def parse_mixture(text: str) -> list[tuple[float, str]]:
    """Return the weighted parts of a text, which a + joins.

    >>> parse_mixture("2*猫+狗")
    [(2.0, '猫'), (1.0, '狗')]

    Raises:
        ValueError: a part is empty.
    """
    mixture = []
    for part in text.split("+"):
        match = PART.fullmatch(part)
        assert match is not None  # of any text
        weight, words = match.groups()
        if is_blank(words):
            raise ValueError(f"A part of the text {text!r} is empty; write words, and + only between two parts.")
        mixture.append((float(weight or 1), words.strip()))
    return mixture


def text_targets(model: BriVLModel, processor: BriVLProcessor, texts: Sequence[str]) -> list[Target]:
    """Return the embedding of each text; of a mixture ("2*猫+狗") that of the weighted sum of its parts' embeddings.

    Raises:
        ValueError: a text or part is blank or has only tokens that the model does not know.
    """
    mixtures = [parse_mixture(text) for text in texts]
    parts = list(dict.fromkeys(words for mixture in mixtures for _, words in mixture))
    for words in parts:
        _check_known(processor, words)
    rows = dict(zip(parts, embed_texts(model, processor, parts), strict=True))
    found = []
    for text, mixture in zip(texts, mixtures, strict=True):
        total = torch.stack([weight * rows[words] for weight, words in mixture]).sum(dim=0)
        if total.norm() < 1e-3:
            raise ValueError(f"The parts of {text!r} cancel out; give other weights.")
        found.append(Target(text, F.normalize(total, dim=0)))
    return found


def image_target(model: BriVLModel, processor: BriVLProcessor, image: ImageSource, *, name: str) -> Target:
    """Return the embedding of an image.

    Raises:
        ImageDecodingError: it cannot be decoded.
    """
    return Target(name, embed_images(model, processor, [image])[0])


def neuron_target(model: BriVLModel, neuron: int) -> Target:
    """Return the direction of one coordinate of the embedding, counted from 0.

    Raises:
        ValueError: there is no such coordinate.
    """
    size = model.config.vision_config.projection_dim
    if not 0 <= neuron < size:
        raise ValueError(f"There is no neuron {neuron}: the embedding has {size}, 0 to {size - 1}.")
    return Target(f"neuron {neuron}", F.one_hot(torch.tensor(neuron), size).float())


def _check_known(processor: BriVLProcessor, words: str) -> None:
    tokenizer = processor.tokenizer
    numbers = processor(text=[words])["input_ids"][0]
    unknown = tokenizer.unk_token_id
    content = [number for number in numbers if number == unknown or number not in tokenizer.all_special_ids]
    if all(number == unknown for number in content):
        raise ValueError(f"The model knows no token of {words!r}; give a text in a language of its training.")


__all__ = ["Target", "image_target", "neuron_target", "parse_mixture", "text_targets"]
