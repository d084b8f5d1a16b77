"""A classifier of emoji7's concepts that shares nothing with the models under test: it evaluates images that they make.

Small convolutions with ReLU and max-pooling, no attention, no pre-trained weights, a seed of its own. It is trained on
the training styles with random backgrounds, colours, positions and noise, and tested on a style that it never saw.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms.v2.functional import pil_to_tensor
from tqdm.auto import tqdm

from ..data.emoji7.dataset import load_emoji7

if TYPE_CHECKING:
    from datasets import Dataset

SIZE, WIDTHS, BATCH, LEARNING_RATE = 48, (32, 64, 96, 128), 32, 2e-3
MIN_ACCURACY = 0.6  # on the unseen style; below it what the classifier says means little
ROTATION, SCALE, SHIFT, NOISE, MIX = 25.0, (0.6, 1.15), 0.15, 0.25, 0.7


@dataclass(frozen=True)
class IndependentClassifier:
    """A trained classifier.

    Attributes:
        concept_ids: of its classes, as in emoji7.
        accuracy: top-1 on the style fluent3d, which it was not trained on; a fraction.
        network: (b, 3, 48, 48) in [-1, 1] to logits (b, classes).
    """

    concept_ids: tuple[int, ...]
    accuracy: float
    network: nn.Module

    @torch.inference_mode()
    def rank(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Return (n, classes) the classes of each RGB image, the most probable first, as indices of `concept_ids`."""
        pixels = torch.stack([pil_to_tensor(image.convert("RGB").resize((SIZE, SIZE))) for image in images]) / 255
        return self.network(2 * pixels - 1).argsort(dim=1, descending=True, stable=True).numpy()


def train_classifier(
    concept_ids: Sequence[int],
    *,
    seed: int = 0,
    steps: int = 400,
    min_accuracy: float = MIN_ACCURACY,
    progress: bool = False,
) -> IndependentClassifier:
    """Return a classifier of these concepts, trained on the CPU.

    Args:
        concept_ids: rows of emoji7's concepts, each once.
        seed: of the weights and of all that is drawn; it should not be that of the model under test.
        steps: of 32 images.
        min_accuracy: that it must reach on the unseen style.
        progress: show a progress bar.

    Raises:
        ValueError: fewer than two concepts, one that is not there or held out, or an accuracy on the unseen style that
            is too low to evaluate anything with.
    """
    ids = tuple(concept_ids)
    if len(set(ids)) != len(ids) or len(ids) < 2:
        raise ValueError(f"There are {len(set(ids))} different concepts among {len(ids)}; give two or more, each once.")
    data = load_emoji7()
    images, labels = read_drawings(data["train"], ids)
    test_images, test_labels = read_drawings(data["test"], ids)
    if missing := sorted(set(range(len(ids))) - set(labels.tolist())):
        raise ValueError(f"emoji7 has no image to train on of the concepts {', '.join(str(ids[i]) for i in missing)}.")
    with torch.random.fork_rng(devices=[]):  # dropout draws from the global generator
        network = _train(images, labels, len(ids), seed, steps, progress)
    network.eval().requires_grad_(False)
    white = test_images[:, :3] * test_images[:, 3:] + 1 - test_images[:, 3:]
    accuracy = float((network(2 * white - 1).argmax(dim=1) == test_labels).float().mean())
    if accuracy < min_accuracy:
        raise ValueError(
            f"The independent classifier names {accuracy:.0%} of the images in a style that it never saw, less than "
            f"{min_accuracy:.0%}: it cannot evaluate these {len(ids)} concepts. Take fewer, or such as look different."
        )
    return IndependentClassifier(ids, accuracy, network)


def _train(images: Tensor, labels: Tensor, classes: int, seed: int, steps: int, progress: bool) -> nn.Module:
    generator = torch.manual_seed(seed)
    network = _build(classes).to(memory_format=torch.channels_last)  # a third less time
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in tqdm(range(steps), desc="independent classifier", disable=not progress):
        chosen = torch.randint(len(images), (BATCH,))
        loss = F.cross_entropy(network(vary_drawings(images[chosen], generator)), labels[chosen], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network


def _build(classes: int) -> nn.Module:
    layers: list[nn.Module] = []
    for before, width in zip((3, *WIDTHS), WIDTHS, strict=False):
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(WIDTHS[-1] * (SIZE // 16) ** 2, classes))


def read_drawings(rows: "Dataset", ids: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return RGBA images (n, 4, 48, 48) in [0, 1] of the concepts, and the index of each."""
    index = {number: place for place, number in enumerate(ids)}
    chosen = rows.select([row for row, number in enumerate(rows["concept_id"]) if number in index])
    images = [pil_to_tensor(image.convert("RGBA").resize((SIZE, SIZE))) for image in chosen["image"]]
    if not images:
        raise ValueError("emoji7 has no image of these concepts.")
    return torch.stack(images) / 255, torch.tensor([index[number] for number in chosen["concept_id"]])


def vary_drawings(images: Tensor, generator: torch.Generator, *, mix: float = MIX) -> Tensor:
    """Return RGB images in [-1, 1] of RGBA ones: moved, recoloured, on random backgrounds, with noise.

    Args:
        images: (b, 4, h, w) in [0, 1].
        generator: that all is drawn from.
        mix: how much of another channel may come into each, at most.
    """

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(len(images), *shape, generator=generator)

    turn, scale = uniform(-1, 1) * math.radians(ROTATION), uniform(*SCALE)
    shift = uniform(-2 * SHIFT, 2 * SHIFT, 2)
    cos, sin = turn.cos() / scale, turn.sin() / scale
    rows = [torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, align_corners=False)
    mixed = torch.einsum("bcd,bdhw->bchw", torch.eye(3) + uniform(-mix, mix, 3, 3), moved[:, :3])
    gain, bias = uniform(0.7, 1.3, 3, 1, 1), uniform(-0.15, 0.15, 3, 1, 1)
    plain, blurred = uniform(0, 1, 3, 1, 1), F.interpolate(uniform(0, 1, 3, 6, 6), size=(SIZE, SIZE), mode="bicubic")
    background = torch.where(uniform(0, 1, 1, 1, 1) < 0.5, plain, (plain + blurred) / 2)
    alpha = moved[:, 3:]
    drawn = (mixed * gain + bias) * alpha + background * (1 - alpha)
    noise = torch.randn(drawn.shape, generator=generator) * uniform(0, NOISE, 1, 1, 1)
    return (2 * (drawn + noise).clamp(0, 1) - 1).contiguous(memory_format=torch.channels_last)


__all__ = ["IndependentClassifier", "read_drawings", "train_classifier", "vary_drawings"]
