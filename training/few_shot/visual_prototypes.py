"""Visual prototypes of classes: embeddings of images that belong to a class's name, and two controls."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...analysis.neurons.frozen_weights import frozen_weights
from ...analysis.neurons.image_embedding import MULTIPLE, ImageEmbedder
from ...analysis.neurons.optimization import to_pil_images
from ...analysis.neurons.visualization import visualize
from ...data.emoji7.dataset import load_emoji7
from ...data.files.image_listing import list_images
from ...modeling_brivl.modeling_brivl import BriVLModel
from ...pipelines.embedding import embed_images, embed_texts
from ...processing.image_decoding import ImageSource
from ...processing.processing_brivl import BriVLProcessor

Visual = Literal["retrieve", "images", "imagine", "none"]
EMOJI7 = "emoji7"  # the name of the drawings in the package as a pool
NEAREST, NOISE_IMAGES = 8, 4
IMAGINED, IMAGINE_STEPS, IMAGINE_COPIES = 4, 60, 2  # images of a name; a third of the steps' cost of the figure
QUERY = "visual_query imagine would optimise images of every text of the test set, for hours; give retrieve or none."


def check_query(visual: str) -> None:
    """Raise ValueError for images of a text that would take too long to make."""
    if visual == "imagine":
        raise ValueError(QUERY)


def imagine_prototypes(
    model: BriVLModel, processor: BriVLProcessor, names: Sequence[str], *, seed: int, progress: bool = False
) -> Tensor:
    """Return (classes, d) unit rows: the mean embedding of four images that the model itself optimises for each name.

    They are those of `wenlan visualize` (section 1.4 of the paper), smaller and with fewer steps.

    Raises:
        ValueError: an optimisation came to values that are not finite.
    """
    own = processor.image_processor.size["height"]
    small = max(own * 3 // 5 // MULTIPLE, 2) * MULTIPLE  # a third of the pixels
    embed, texts = ImageEmbedder(model, processor, size=small), embed_texts(model, processor, names)
    found = []
    with frozen_weights(model):
        for one in range(seed, seed + IMAGINED):
            made = visualize(embed, texts, seed=one, steps=IMAGINE_STEPS, copies=IMAGINE_COPIES, progress=progress)
            if made.stopped == "interrupted":
                raise KeyboardInterrupt
            if made.stopped is not None:
                raise ValueError("Images of the class names came to values that are not finite; give another --visual.")
            found.append(embed_images(model, processor, to_pil_images(made.images)))
    return F.normalize(torch.stack(found).mean(dim=0), dim=-1)


def embed_pool(model: BriVLModel, processor: BriVLProcessor, pool: str) -> Tensor:
    """Return (images, d) unit rows of a pool.

    Args:
        pool: a folder of images, or "emoji7": the drawings of the style emojitwo among those to train on.

    Raises:
        ValueError: there is no image.
    """
    return embed_images(model, processor, _emoji7_images() if pool == EMOJI7 else _folder_images(Path(pool)))


def retrieve_prototypes(model: BriVLModel, processor: BriVLProcessor, names: Sequence[str], pool: Tensor) -> Tensor:
    """Return (classes, d) unit rows: the mean of the eight images of a pool that are most similar to each name.

    Args:
        pool: (images, d) unit rows.
    """
    return nearest_images(embed_texts(model, processor, names), pool)


def nearest_images(texts: Tensor, pool: Tensor) -> Tensor:
    """Return (n, d) unit rows: the mean of the eight images of a pool that are most similar to each text.

    Args:
        texts: (n, d) unit rows.
        pool: (images, d) unit rows.
    """
    nearest = (texts @ pool.T).topk(min(NEAREST, len(pool)), dim=1).indices
    return F.normalize(pool[nearest].mean(dim=1), dim=-1)


def folder_prototypes(model: BriVLModel, processor: BriVLProcessor, names: Sequence[str], folder: Path) -> Tensor:
    """Return (classes, d) unit rows: the mean of the images in a folder for each class, named as it is.

    A slash in a name is written as _ in the folder's.

    Raises:
        FileNotFoundError: a class has no folder; the message names up to five.
        ValueError: a folder holds no image.
    """
    folders = [folder / name.replace("/", "_") for name in names]
    if missing := [one.name for one in folders if not one.is_dir()]:
        raise FileNotFoundError(f"{folder} has no folder for {len(missing)} classes: {', '.join(missing[:5])}.")
    return torch.stack([_mean(embed_images(model, processor, _folder_images(one))) for one in folders])


def noise_prototypes(model: BriVLModel, processor: BriVLProcessor, classes: int, *, seed: int) -> Tensor:
    """Return (classes, d) unit rows of images of uniform noise: a control that says nothing of any class."""
    rng, size = np.random.default_rng(seed), model.config.vision_config.image_size
    images = (rng.integers(0, 256, (size, size, 3), dtype=np.uint8) for _ in range(classes * NOISE_IMAGES))
    found = embed_images(model, processor, images)
    return F.normalize(found.view(classes, NOISE_IMAGES, -1).mean(dim=1), dim=-1)


def permute_prototypes(prototypes: Tensor, *, seed: int) -> Tensor:
    """Return prototypes of which none is at its own class: each at the next one of a random order."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(prototypes)))
    permuted = torch.empty_like(prototypes)
    permuted[order] = prototypes[order.roll(1)]
    return permuted


def _mean(embeddings: Tensor) -> Tensor:
    return F.normalize(embeddings.mean(dim=0), dim=-1)


def _folder_images(folder: Path) -> Iterable[ImageSource]:
    if not (paths := [path for _, path in list_images(folder)]):
        raise ValueError(f"{folder} holds no image.")
    return paths


def _emoji7_images() -> Iterable[ImageSource]:
    rows = load_emoji7()["train"]
    chosen = [number for number, style in enumerate(rows["style"]) if style == "emojitwo"]
    return (row["image"] for row in rows.select(chosen).select_columns("image"))


__all__ = [
    "EMOJI7",
    "Visual",
    "check_query",
    "embed_pool",
    "folder_prototypes",
    "imagine_prototypes",
    "nearest_images",
    "noise_prototypes",
    "permute_prototypes",
    "retrieve_prototypes",
]
