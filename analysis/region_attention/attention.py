"""Attention from the words of a text to the regions of an image (section 2.4 of the paper, figure 6).

The paper shows the last layer. How it joined the heads and scaled the weights is not published: here it is their mean,
and weights are fractions of the attention that the regions get together.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from typing import overload

import torch
from PIL import Image
from torch import Tensor

from ...modeling_mlmm.modeling_mlmm import MLMMPreTrainedModel
from ...processing.image_decoding import decode_image
from ...processing.processing_mlmm import MLMMProcessor
from ...processing.region_inputs import image_size, list_regions
from .rollout import attention_rollout
from .words import Span, find_word

logger = logging.getLogger(__name__)

ROLLOUT = "rollout"
MAX_REGIONS = 100  # of an image, as in the paper
Layer = int | str  # from 0 or the end, or ROLLOUT
Heads = str | int  # "mean", "max", or the number of one
PER_REGION = ("boxes", "features", "class_probs", "object_ids", "object_scores", "attribute_ids", "attribute_scores")


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
        if not words:
            raise ValueError("There is no word: name one of the text.")
        return self.at([span for word in words for span in self._places_of(word)])

    def at(self, spans: Sequence[Span]) -> Tensor:
        """Return the (n,) weights of parts of the text together: the mean of those of their pieces.

        Raises:
            ValueError: no part is given, or one was cut off.
        """
        rows = sorted({row for span in spans for row in self._rows_in(span)})
        if not rows:
            raise ValueError("There is no word: name one of the text.")
        return self.weights[rows].mean(dim=0)

    def _places_of(self, word: str) -> list[Span]:
        places = find_word(self.text, word)
        if not places:
            raise ValueError(f"{word!r} is not in the text {self.text!r}.")
        end = max((end for _, end in self.spans), default=0)
        return [place for place in places if place[0] < end] or places

    def _rows_in(self, place: Span) -> list[int]:
        rows = [row for row, (start, end) in enumerate(self.spans) if start < place[1] and place[0] < end]
        if not rows:
            word = self.text[slice(*place)]
            raise ValueError(f"{word!r} was cut off: the text {self.text!r} is longer than the processor allows.")
        return rows


@dataclass(frozen=True)
class JointAttention:
    """Attention of all layers over the joint sequence of a text and n regions, s places with <s> and </s>.

    Attributes:
        text: the text.
        attentions: (layers, heads, s, s), rows add up to 1; float32, or float64 of a model in it.
        spans: of the l word pieces of the text, as in `RegionAttention`.
        rows: (l,) their places in the sequence.
        boxes: (n, 4) of the regions, which are the last n places.
    """

    text: str
    attentions: Tensor
    spans: list[Span]
    rows: Tensor
    boxes: Tensor

    def of_pieces(self, layer: Layer = -1, heads: Heads = "mean") -> Tensor:
        """Return the attention (l, s) of the word pieces to the whole sequence, the text included."""
        joined = _join_heads(self.attentions, heads)
        return (joined[layer] if isinstance(layer, int) else attention_rollout(joined))[self.rows]

    def to_regions(self, layer: Layer = -1, heads: Heads = "mean") -> RegionAttention:
        """Return the attention of the word pieces to the regions."""
        weights = self.of_pieces(layer, heads)[:, -len(self.boxes) :]
        fraction = weights.sum(dim=1)
        return RegionAttention(
            text=self.text,
            tokens=[self.text[first:last] for first, last in self.spans],
            spans=self.spans,
            boxes=self.boxes,
            weights=(weights / fraction.clamp(min=torch.finfo(fraction.dtype).tiny)[:, None]).float(),
            region_fraction=fraction.float(),
        )


@overload
def text_to_region_attention(
    model: MLMMPreTrainedModel,
    processor: MLMMProcessor,
    text: str,
    *,
    image: str | PathLike | bytes | Image.Image | None = None,
    regions: Mapping[str, object] | None = None,
    layer: Layer = -1,
    heads: Heads = "mean",
) -> RegionAttention: ...


@overload
def text_to_region_attention(
    model: MLMMPreTrainedModel,
    processor: MLMMProcessor,
    text: list[str],
    *,
    image: str | PathLike | bytes | Image.Image | None = None,
    regions: Mapping[str, object] | None = None,
    layer: Layer = -1,
    heads: Heads = "mean",
) -> list[RegionAttention]: ...


def text_to_region_attention(
    model: MLMMPreTrainedModel,
    processor: MLMMProcessor,
    text: str | list[str],
    *,
    image: str | PathLike | bytes | Image.Image | None = None,
    regions: Mapping[str, object] | None = None,
    layer: Layer = -1,
    heads: Heads = "mean",
) -> RegionAttention | list[RegionAttention]:
    """Return the attention from a text to the regions of an image; for a list of texts (languages, say) a list.

    Regions of an image are found once for all texts. The model computes eager attention meanwhile, the only one that
    has weights.

    Args:
        image: the image (PIL, path or bytes), whose regions the processor finds.
        regions: in its place: its row of `read_regions`, or what `RegionFeatureExtractor.extract` gave for it.
        layer: of the encoder, -1 is the last; or "rollout", through all of them (`attention_rollout`).
        heads: "mean" or "max" over the heads, or the number of one.

    Raises:
        ValueError: no image, or not one; no such layer or head; and what the processor refuses.
    """
    check_layer(model, layer, heads)
    texts = [text] if isinstance(text, str) else list(text)
    found = [
        one.to_regions(layer, heads) for one in joint_attentions(model, processor, texts, image=image, regions=regions)
    ]
    return found[0] if isinstance(text, str) else found


def joint_attentions(
    model: MLMMPreTrainedModel,
    processor: MLMMProcessor,
    texts: Sequence[str],
    *,
    image: str | PathLike | bytes | Image.Image | None = None,
    regions: Mapping[str, object] | None = None,
) -> list[JointAttention]:
    """Return the attention of all layers and heads for each text with an image, or with the regions found in it.

    Raises:
        ValueError: as `text_to_region_attention`.
    """
    if (image is None) == (regions is None):
        raise ValueError("Give either the image (image=...) or the regions found in it (regions=...).")
    rows = [find_regions(processor, image)] if image is not None else list_regions(regions or {})
    if len(rows) != 1:
        raise ValueError(f"There are {len(rows)} images; give the regions of one.")
    row = limit_regions(rows[0])
    inputs = processor(regions=row)
    boxes = inputs["region_boxes"][0, :, :4] * torch.tensor(_size(row) * 2)
    with _eager_attention(model):
        return [_attend(model, processor, text, inputs, boxes) for text in texts]


def find_regions(processor: MLMMProcessor, image: str | PathLike | bytes | Image.Image) -> dict[str, object]:
    """Return the row of regions that a processor's detector finds in an image, at most `MAX_REGIONS` of them."""
    extractor = processor.region_extractor
    found = extractor.extract(
        [decode_image(image)],
        min_boxes=processor.min_boxes,
        max_boxes=min(processor.max_boxes, MAX_REGIONS),
        conf_threshold=processor.conf_threshold,
    )
    return dict(list_regions(found)[0])


def limit_regions(row: Mapping[str, object], most: int = MAX_REGIONS) -> Mapping[str, object]:
    """Return a row with no more regions than `most`: those with the greatest scores, in their order; it is logged.

    The score of a region is `object_scores`, or the greatest of its `class_probs` apart from the background; of rows
    with neither the first regions are kept.
    """
    count = len(torch.as_tensor(row["boxes"]))
    if count <= most:
        return row
    scores = _scores(row)
    kept = torch.arange(most) if scores is None else scores.topk(most).indices.sort().values
    logger.warning(
        "%s has %d regions; kept are the %d %s.",
        row.get("image_id", "The image"),
        count,
        most,
        "first ones, for they have no scores" if scores is None else "with the greatest scores",
    )
    columns = {name: torch.as_tensor(row[name]) for name in PER_REGION if row.get(name) is not None}
    return {**row, **{name: values[kept] for name, values in columns.items()}}


def check_layer(model: MLMMPreTrainedModel, layer: Layer, heads: Heads) -> None:
    """Raise ValueError for a layer or a head that a model has not."""
    number = model.config.num_hidden_layers
    if layer != ROLLOUT and not (isinstance(layer, int) and -number <= layer < number):
        raise ValueError(f"There is no layer {layer}: the model has {number}.")
    _check_heads(heads, model.config.num_attention_heads)


def _check_heads(heads: Heads, number: int) -> None:
    if heads not in ("mean", "max") and not (isinstance(heads, int) and 0 <= heads < number):
        raise ValueError(f'heads is {heads!r}; it must be "mean", "max", or the number of one: 0..{number - 1}.')


def _scores(row: Mapping[str, object]) -> Tensor | None:
    if row.get("object_scores") is not None:
        return torch.as_tensor(row["object_scores"])
    if row.get("class_probs") is None:
        return None
    probs = torch.as_tensor(row["class_probs"]).clone()
    if isinstance(background := row.get("background_index"), int) and background >= 0:
        probs[:, background] = 0
    return probs.amax(dim=1)


def _attend(
    model: MLMMPreTrainedModel, processor: MLMMProcessor, text: str, regions: Mapping[str, Tensor], boxes: Tensor
) -> JointAttention:
    encoding = processor(text=text, return_offsets_mapping=True, return_special_tokens_mask=True)
    offsets, special = encoding.pop("offset_mapping")[0], encoding.pop("special_tokens_mask")[0]
    inputs = {
        name: tensor.to(model.device, model.dtype if tensor.is_floating_point() else tensor.dtype)
        for name, tensor in {**encoding, **regions}.items()
    }
    with torch.inference_mode():
        attentions = model.base_model(**inputs, output_attentions=True).attentions
    if not attentions:  # under another implementation than eager transformers gives an empty tuple, and a warning
        raise RuntimeError(f"{type(model).__name__} gave no attention weights; its attention is not eager.")
    stacked = torch.stack(attentions)[:, 0].cpu()
    return JointAttention(
        text=text,
        attentions=stacked.to(torch.promote_types(stacked.dtype, torch.float32)),
        spans=[without_space(text, first, last) for first, last in offsets[special == 0].tolist()],
        rows=(special == 0).nonzero()[:, 0],
        boxes=boxes,
    )


def _join_heads(attentions: Tensor, heads: Heads) -> Tensor:
    """Return (layers, s, s)."""
    _check_heads(heads, attentions.shape[1])
    if isinstance(heads, int):
        return attentions[:, heads]
    return attentions.mean(dim=1) if heads == "mean" else attentions.amax(dim=1)


def _size(row: Mapping[str, object]) -> list[float]:
    """Return width and height of the image; 1 and 1 if they are not known."""
    height, width = image_size(row)
    return [1.0, 1.0] if height is None or width is None else [float(width), float(height)]


def without_space(text: str, first: int, last: int) -> Span:
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


__all__ = [
    "MAX_REGIONS",
    "ROLLOUT",
    "Heads",
    "JointAttention",
    "Layer",
    "RegionAttention",
    "check_layer",
    "find_regions",
    "joint_attentions",
    "limit_regions",
    "text_to_region_attention",
    "without_space",
]
