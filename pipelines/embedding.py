"""Images and sentences to embeddings, a batch at a time."""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

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
    return _embed(model, lambda batch: processor(text=batch, return_tensors="pt"), texts, batch_size, progress)


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
    return _embed(model, prepare, iterate_images(images), batch_size, progress)


def _prepare_images(processor: BriVLProcessor, detector: "RegionFeatureExtractor | None", images: list) -> BatchFeature:
    if detector is None:
        return processor(images=images, return_tensors="pt")
    as_original = processor.image_processor.as_original
    images = [decode_image(image, as_original=as_original) for image in images]
    boxes = find_brivl_boxes(detector, images, max_boxes=max(processor.image_processor.max_regions - 1, 1))
    return processor(images=images, boxes=boxes, return_tensors="pt")


@torch.inference_mode()
def _embed(
    model: PreTrainedModel, prepare: Callable[[list], BatchFeature], items: Iterable, batch_size: int, progress: bool
) -> Tensor:
    was_training = model.training
    model.eval()
    embeddings, rest = [], iter(items)
    with tqdm(desc="embed", disable=not progress) as bar:
        while batch := list(islice(rest, batch_size)):
            output = model(**prepare(batch).to(model.device))
            found = (output.image_embeds if output.text_embeds is None else output.text_embeds).float().cpu()
            if not found.isfinite().all():
                raise ValueError(
                    f"The embeddings are not finite: the weights are broken, or {model.dtype} is too narrow for this "
                    "model; try float32."
                )
            embeddings.append(found)
            bar.update(len(batch))
    model.train(was_training)
    if not embeddings:
        raise ValueError("There is nothing to embed: no text and no image.")
    return torch.cat(embeddings)


__all__ = ["embed_images", "embed_texts"]
