"""Numbers that say whether an image shows its text: of the tower itself, of others, and of images that are known."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor
from tqdm.auto import tqdm

from ...data.emoji7.dataset import load_emoji7, read_concepts
from ...data.rows.languages import LANGUAGES
from ...modeling_brivl.modeling_brivl import BriVLModel

SIDE = 32  # of the images that are compared with training images


def find_concepts(texts: Sequence[str]) -> list[int] | None:
    """Return the emoji7 concept that each text names, in any language; None unless all do, each another one."""
    for language in LANGUAGES:
        by_name = {row[f"name_{language}"]: number for number, row in read_concepts(language).items()}
        if all(text in by_name for text in texts):
            found = [by_name[text] for text in texts]
            return found if len(set(found)) == len(found) else None
    return None


def rank_by_embedding(images: Tensor, targets: Tensor) -> np.ndarray:
    """Return (n, classes) the indices of targets (classes, d), the most similar first, to images (n, d)."""
    return (images @ targets.T).argsort(dim=1, descending=True, stable=True).numpy()


def hits(ranked: np.ndarray, labels: Sequence[int] | np.ndarray, k: int) -> np.ndarray:
    """Return (n,) 1.0 where the label is among the first k of a ranking (n, classes), else 0.0."""
    return (ranked[:, :k] == np.asarray(labels)[:, None]).any(axis=1).astype(float)


def random_tower(model: BriVLModel, *, seed: int) -> BriVLModel:
    """Return a model of the same configuration whose weights are random, frozen, on the same device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        control = BriVLModel(model.config)
    return control.eval().requires_grad_(False).to(model.device)


def nearest_training_distances(images: Sequence[Image.Image], *, progress: bool = False) -> np.ndarray:
    """Return (n,) the mean absolute difference, of values in [0, 1], to the nearest training image of emoji7.

    All are compared at 32 x 32 pixels, drawings on white.
    """
    pixels = torch.stack([pil_to_tensor(image.convert("RGB").resize((SIDE, SIDE))) for image in images]).float() / 255
    nearest = np.full(len(images), np.inf)
    rows = load_emoji7()["train"]
    for first in tqdm(range(0, len(rows), 256), "training images", disable=not progress):
        drawings = [
            pil_to_tensor(image.convert("RGBA").resize((SIDE, SIDE))) for image in rows[first : first + 256]["image"]
        ]
        rgba = torch.stack(drawings).float() / 255
        alpha = rgba[:, 3:]
        known = (rgba[:, :3] * alpha + 1 - alpha).flatten(1)
        distances = torch.cdist(pixels.flatten(1), known, p=1) / known.shape[1]
        nearest = np.minimum(nearest, distances.amin(dim=1).numpy())
    return nearest


__all__ = [
    "find_concepts",
    "hits",
    "nearest_training_distances",
    "random_tower",
    "rank_by_embedding",
]
