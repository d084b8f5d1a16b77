"""Images and sentences to embeddings, a batch at a time; and to tokens, of a model with late interaction."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import BatchFeature, PreTrainedModel

from ..processing.array_images import iterate_images
from ..processing.image_decoding import ImageSource, decode_image
from ..processing.processing_brivl import BriVLProcessor
from ..processing.regions.brivl_boxes import find_brivl_boxes

if TYPE_CHECKING:
    from ..processing.regions.feature_extractor import RegionFeatureExtractor


def embed_texts(
    model: PreTrainedModel,
    processor: BriVLProcessor,
    texts: Iterable[str],
    *,
    batch_size: int = 64,
    progress: bool = False,
) -> Tensor:
    """Return the embeddings of n sentences: (n, d) float32 unit rows on the CPU.

    Raises:
        ValueError: for a blank text, nothing to embed or embeddings that are not finite.
    """
    return torch.cat([rows for rows, _ in _embed(model, _text_preparation(processor), texts, batch_size, progress)])


def embed_images(
    model: PreTrainedModel,
    processor: BriVLProcessor,
    images: ImageSource | Iterable[ImageSource],
    *,
    detector: "RegionFeatureExtractor | None" = None,
    batch_size: int = 32,
    progress: bool = False,
) -> Tensor:
    """Return the embeddings of n images: (n, d) float32 unit rows on the CPU.

    Args:
        images: what `decode_image` reads, also arrays or tensors of several (N, ...).
        detector: finds the boxes that the model looks at (BriVL 1.0); without it the model looks at its grid.

    Raises:
        ImageDecodingError: for an image that cannot be decoded.
        ValueError: for nothing to embed or embeddings that are not finite.
    """
    prepare = partial(_prepare_images, processor, detector)
    return torch.cat([rows for rows, _ in _embed(model, prepare, iterate_images(images), batch_size, progress)])


def embed_text_tokens(
    model: PreTrainedModel,
    processor: BriVLProcessor,
    texts: Iterable[str],
    *,
    batch_size: int = 64,
    progress: bool = False,
) -> tuple[Tensor, list[np.ndarray]]:
    """Return the embeddings of n sentences, as `embed_texts`, and of each its tokens (l, c) float16, unit rows.

    Raises:
        ValueError: as `embed_texts`, or the model has no late interaction.
    """
    return _with_tokens(_embed(model, _text_preparation(processor), texts, batch_size, progress, tokens="text"))


def embed_image_tokens(
    model: PreTrainedModel,
    processor: BriVLProcessor,
    images: ImageSource | Iterable[ImageSource],
    *,
    detector: "RegionFeatureExtractor | None" = None,
    batch_size: int = 32,
    progress: bool = False,
) -> tuple[Tensor, list[np.ndarray]]:
    """Return the embeddings of n images, as `embed_images`, and of each its tokens (n_i, c) float16, unit rows.

    Both come of one forward pass. Arguments as in `embed_images`; an image has one token for each region.

    Raises:
        ImageDecodingError: for an image that cannot be decoded.
        ValueError: as `embed_images`, or the model has no late interaction.
    """
    prepare = partial(_prepare_images, processor, detector)
    return _with_tokens(_embed(model, prepare, iterate_images(images), batch_size, progress, tokens="image"))


def _with_tokens(batches: Iterator[tuple[Tensor, list[np.ndarray]]]) -> tuple[Tensor, list[np.ndarray]]:
    rows, tokens = zip(*batches, strict=True)
    return torch.cat(rows), [one for batch in tokens for one in batch]


def _text_preparation(processor: BriVLProcessor) -> Callable[[list], BatchFeature]:
    return lambda batch: processor(text=batch, return_tensors="pt")


def _prepare_images(processor: BriVLProcessor, detector: "RegionFeatureExtractor | None", images: list) -> BatchFeature:
    if detector is None:
        return processor(images=images, return_tensors="pt")
    as_original = processor.image_processor.as_original
    images = [decode_image(image, as_original=as_original) for image in images]
    boxes = find_brivl_boxes(detector, images, max_boxes=max(processor.image_processor.max_regions - 1, 1))
    return processor(images=images, boxes=boxes, return_tensors="pt")


def _embed(
    model: PreTrainedModel,
    prepare: Callable[[list], BatchFeature],
    items: Iterable,
    batch_size: int,
    progress: bool,
    *,
    tokens: str | None = None,
) -> Iterator[tuple[Tensor, list[np.ndarray]]]:
    """Yield the embeddings of each batch, and the tokens of each of its items: "text", "image" or none."""
    if tokens and not model.config.late_interaction:
        raise ValueError("This BriVL has no tokens to store: late_interaction is false; train one by brivl_late.")
    was_training = model.training
    model.eval()
    rest, count = iter(items), 0
    with tqdm(desc="embed", disable=not progress) as bar:
        while batch := list(islice(rest, batch_size)):
            with torch.inference_mode():
                output = model(**prepare(batch).to(model.device))
                found = (output.image_embeds if output.text_embeds is None else output.text_embeds).float().cpu()
            if not found.isfinite().all():
                raise ValueError(
                    f"The embeddings are not finite: the weights are broken, or {model.dtype} is too narrow for this "
                    "model; try float32."
                )
            parts = zip(output[f"{tokens}_tokens"], output[f"{tokens}_token_mask"], strict=True) if tokens else ()
            yield found, [rows[mask].half().cpu().numpy() for rows, mask in parts]
            count += len(batch)
            bar.update(len(batch))
    model.train(was_training)
    if not count:
        raise ValueError("There is nothing to embed: no text and no image.")


__all__ = ["embed_image_tokens", "embed_images", "embed_text_tokens", "embed_texts"]
