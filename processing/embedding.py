"""Pictures and sentences to embeddings, a batch at a time."""

from collections.abc import Iterable, Iterator
from itertools import islice
from os import PathLike

import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from .processing_brivl import BriVLProcessor


def embed_texts(
    model: PreTrainedModel,
    processor: BriVLProcessor,
    texts: Iterable[str],
    *,
    batch_size: int = 64,
    progress: bool = False,
) -> Tensor:
    """Returns the embeddings of n sentences: (n, d) float32 unit rows on the CPU.

    Raises:
        ValueError: for a blank text or nothing to embed.
    """
    return _embed(model, processor, "text", texts, batch_size, progress)


def embed_images(
    model: PreTrainedModel,
    processor: BriVLProcessor,
    images: Iterable[Image.Image | str | PathLike | bytes],
    *,
    batch_size: int = 32,
    progress: bool = False,
) -> Tensor:
    """Returns the embeddings of n pictures: (n, d) float32 unit rows on the CPU.

    Raises:
        ImageDecodingError: for a picture that cannot be decoded.
        ValueError: for nothing to embed.
    """
    return _embed(model, processor, "images", images, batch_size, progress)


@torch.inference_mode()
def _embed(
    model: PreTrainedModel, processor: BriVLProcessor, kind: str, items: Iterable, batch_size: int, progress: bool
) -> Tensor:
    was_training = model.training
    model.eval()
    embeddings = []
    with tqdm(desc=f"embed {kind}", disable=not progress) as bar:
        for batch in _batches(items, batch_size):
            output = model(**processor(**{kind: batch}, return_tensors="pt").to(model.device))
            embeddings.append((output.text_embeds if kind == "text" else output.image_embeds).float().cpu())
            bar.update(len(batch))
    model.train(was_training)
    if not embeddings:
        raise ValueError(f"There is nothing to embed: no {kind}.")
    return torch.cat(embeddings)


def _batches(items: Iterable, size: int) -> Iterator[list]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


__all__ = ["embed_images", "embed_texts"]
