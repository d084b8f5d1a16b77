"""Attention from the words of a text to the regions of an image (section 2.4 of the paper, figure 6).

The paper shows the last layer. How it joined the heads and scaled the weights is not published: here it is their mean,
and weights are fractions of the attention that the regions get together.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from typing import overload

import torch
from PIL import Image
from torch import Tensor

from ..modeling_mlmm.modeling_mlmm import MLMMPreTrainedModel
from ..processing.image_decoding import decode_image
from ..processing.processing_mlmm import MLMMProcessor
from ..processing.region_inputs import image_size, list_regions


@dataclass(frozen=True)
class RegionAttention:
    """Attention from the l word pieces of a text to the n regions of an image.

    Attributes:
        text: the text.
        tokens: l parts of it, one a word piece; <s> and </s> are left out. "" for a piece of white space.
        spans: where they are in it, (first, last + 1) character.
        boxes: (n, 4) float32, x1, y1, x2, y2 in pixels of the image; fractions of it where its size is not known.
        weights: (l, n) float32, rows add up to 1.
        region_fraction: (l,) how much of its attention a piece gives to regions at all; the rest goes to the text.
    """

    text: str
    tokens: list[str]
    spans: list[tuple[int, int]]
    boxes: Tensor
    weights: Tensor
    region_fraction: Tensor

    def of(self, words: str | Sequence[str]) -> Tensor:
        """Return the (n,) weights of a word, or of several together: the mean of those of their pieces.

        A word of Chinese or Japanese has no mark around it, so words are found as parts of the text: where "key" occurs
        as a word of its own only there, else wherever it occurs.

        Raises:
            ValueError: no word is given, or one is not in the text or in the part of it that was cut off.
        """
        words = [words] if isinstance(words, str) else list(words)
        rows = sorted({row for word in words for row in self._rows_of(word)})
        if not rows:
            raise ValueError("There is no word: name one of the text.")
        return self.weights[rows].mean(dim=0)

    def _rows_of(self, word: str) -> list[int]:
        places = find_word(self.text, word)
        if not places:
            raise ValueError(f"{word!r} is not in the text {self.text!r}.")
        rows = [
            row
            for row, (start, end) in enumerate(self.spans)
            if any(start < last and first < end for first, last in places)
        ]
        if not rows:
            raise ValueError(f"{word!r} was cut off: the text {self.text!r} is longer than the processor allows.")
        return rows


@overload
def text_to_region_attention(
    model: MLMMPreTrainedModel,
    processor: MLMMProcessor,
    text: str,
    *,
    image: str | PathLike | bytes | Image.Image | None = None,
    regions: Mapping[str, object] | None = None,
    layer: int = -1,
    heads: str | int = "mean",
) -> RegionAttention: ...


@overload
def text_to_region_attention(
    model: MLMMPreTrainedModel,
    processor: MLMMProcessor,
    text: list[str],
    *,
    image: str | PathLike | bytes | Image.Image | None = None,
    regions: Mapping[str, object] | None = None,
    layer: int = -1,
    heads: str | int = "mean",
) -> list[RegionAttention]: ...


def text_to_region_attention(
    model: MLMMPreTrainedModel,
    processor: MLMMProcessor,
    text: str | list[str],
    *,
    image: str | PathLike | bytes | Image.Image | None = None,
    regions: Mapping[str, object] | None = None,
    layer: int = -1,
    heads: str | int = "mean",
) -> RegionAttention | list[RegionAttention]:
    """Return the attention from a text to the regions of an image; for a list of texts (languages, say) a list.

    Regions of an image are found once for all texts. The model computes eager attention meanwhile, the only one that
    has weights.

    Args:
        image: the image (PIL, path or bytes), whose regions the processor finds.
        regions: in its place: its row of `read_regions`, or what `RegionFeatureExtractor.extract` gave for it.
        layer: of the encoder; -1 is the last.
        heads: "mean" or "max" over the heads, or the number of one.

    Raises:
        ValueError: no image, or not one; no such layer or head; and what the processor refuses.
    """
    if (image is None) == (regions is None):
        raise ValueError("Give either the image (image=...) or the regions found in it (regions=...).")
    if image is not None:
        image = decode_image(image)
    inputs = processor(images=image, regions=regions)
    if len(inputs["region_features"]) != 1:
        raise ValueError(f"There are {len(inputs['region_features'])} images; give the regions of one.")
    number = model.config.num_hidden_layers
    if not -number <= layer < number:
        raise ValueError(f"There is no layer {layer}: the model has {number}.")
    boxes = inputs["region_boxes"][0, :, :4] * torch.tensor(_size(image, regions) * 2)
    texts = [text] if isinstance(text, str) else list(text)
    with _eager_attention(model):
        found = [_attention_of(model, processor, one, inputs, boxes, layer, heads) for one in texts]
    return found[0] if isinstance(text, str) else found


def find_word(text: str, word: str) -> list[tuple[int, int]]:
    """Return where a word is in a text: as a word of its own, or if it is nowhere that, as a part."""
    if not word.strip():
        return []
    part = re.escape(word.strip())
    whole = [match.span() for match in re.finditer(rf"(?<!\w){part}(?!\w)", text)]
    return whole or [match.span() for match in re.finditer(part, text)]


def _attention_of(
    model: MLMMPreTrainedModel,
    processor: MLMMProcessor,
    text: str,
    regions: Mapping[str, Tensor],
    boxes: Tensor,
    layer: int,
    heads: str | int,
) -> RegionAttention:
    encoding = processor(text=text, return_offsets_mapping=True, return_special_tokens_mask=True)
    offsets, special = encoding.pop("offset_mapping")[0], encoding.pop("special_tokens_mask")[0]
    inputs = {
        name: tensor.to(model.device, model.dtype if tensor.is_floating_point() else tensor.dtype)
        for name, tensor in {**encoding, **regions}.items()
    }
    with torch.inference_mode():
        attention = model.base_model(**inputs, output_attentions=True).attentions[layer][0].float().cpu()
    weights = _join_heads(attention, heads)[: len(special), len(special) :][special == 0]  # (l, n)
    fraction = weights.sum(dim=1)
    spans = [_without_space(text, first, last) for first, last in offsets[special == 0].tolist()]
    return RegionAttention(
        text=text,
        tokens=[text[first:last] for first, last in spans],
        spans=spans,
        boxes=boxes,
        weights=weights / fraction.clamp(min=torch.finfo(fraction.dtype).tiny)[:, None],
        region_fraction=fraction,
    )


def _join_heads(attention: Tensor, heads: str | int) -> Tensor:
    if heads == "mean":
        return attention.mean(dim=0)
    if heads == "max":
        return attention.amax(dim=0)
    if isinstance(heads, int) and 0 <= heads < len(attention):
        return attention[heads]
    raise ValueError(f'heads is {heads!r}; it must be "mean", "max", or the number of one: 0..{len(attention) - 1}.')


def _size(image: Image.Image | None, regions: Mapping[str, object] | None) -> list[float]:
    """Return width and height of the image; 1 and 1 if they are not known."""
    if image is not None:
        return [float(side) for side in image.size]
    assert regions is not None  # `text_to_region_attention` has refused neither
    height, width = image_size(list_regions(regions)[0])
    return [1.0, 1.0] if height is None or width is None else [float(width), float(height)]


def _without_space(text: str, first: int, last: int) -> tuple[int, int]:
    """Return the span without the white space before it, which belongs to the pieces of some tokenizers."""
    while first < last and text[first].isspace():
        first += 1
    return first, last


@contextmanager
def _eager_attention(model: MLMMPreTrainedModel) -> Iterator[None]:
    attention, training = model.config._attn_implementation, model.training
    model.set_attn_implementation("eager")
    model.eval()
    try:
        yield
    finally:
        model.set_attn_implementation(attention)
        model.train(training)


__all__ = ["RegionAttention", "find_word", "text_to_region_attention"]
