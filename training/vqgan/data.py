"""Images to train a VQGAN on: the drawings of emoji7 on backgrounds that change with each epoch."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from ...data.emoji7.dataset import load_emoji7
from ...data.emoji_scenes.backgrounds import BACKGROUND_KINDS, COLOURS, draw_background
from ...data.rows.epoch import EpochDraws
from ..recipe_options import option

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass
class VQGANDataArguments:
    """The images: the drawings of emoji7."""

    image_size: int = option(48, "width and height in pixels, a multiple of what a code is wide", low=16, high=512)
    white_fraction: float = option(0.5, "of the images that have a white background", low=0, high=1)
    smallest_drawing: float = option(0.7, "width of a drawing, as a fraction of the image's", above=0, high=1)
    train_limit: int | None = option(None, "take so many drawings of the training styles, evenly spaced", low=1)
    max_bad_fraction: float = option(0.1, "stop if a greater fraction of the steps is not finite", low=0, high=1)


@dataclass(eq=False)
class DrawingsOnBackgrounds(EpochDraws, TorchDataset):
    """A map-style dataset of `{"pixel_values": (3, size, size)}` from 0 to 1.

    Attributes:
        drawings: rows with an RGBA `image`.
        args: of the images.
        seed: of backgrounds, sizes and places.
        as_stored: True: the whole drawing on white, always the same, as a BriVL sees it.
    """

    drawings: "Dataset"
    args: VQGANDataArguments
    as_stored: bool = False

    def __len__(self) -> int:
        return len(self.drawings)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return the image of a drawing, as it is drawn in the current epoch."""
        rng, size = self.make_generator(index), self.args.image_size
        if self.as_stored:
            background, width = Image.new("RGB", (size, size), "white"), size
        else:
            background = self._draw_background(rng)
            width = round(size * rng.uniform(self.args.smallest_drawing, 1))
        drawing = self.drawings[int(index)]["image"].convert("RGBA").resize((width, width), Image.Resampling.LANCZOS)
        place = (rng.randint(0, size - width), rng.randint(0, size - width))
        background.paste(drawing, place, drawing)
        return {"pixel_values": torch.from_numpy(np.array(background)).movedim(-1, 0) / 255}

    def _draw_background(self, rng: random.Random) -> Image.Image:
        size = self.args.image_size
        if rng.random() < self.args.white_fraction:
            return Image.new("RGB", (size, size), "white")
        noise = np.random.default_rng(rng.getrandbits(32))
        return draw_background(rng.choice(COLOURS), rng.choice(BACKGROUND_KINDS), rng, noise, size)

    def batches(self, batch_size: int) -> Iterator[Tensor]:
        """Yield all images in order, (batch_size, 3, size, size) at a time."""
        for start in range(0, len(self), batch_size):
            rows = range(start, min(start + batch_size, len(self)))
            yield torch.stack([self[index]["pixel_values"] for index in rows])


def load_drawings(args: VQGANDataArguments, seed: int) -> tuple[DrawingsOnBackgrounds, DrawingsOnBackgrounds]:
    """Return the drawings to train on, of the training styles, and those of a style that is never trained on."""
    emoji7 = load_emoji7()
    train = take_evenly(emoji7["train"], args.train_limit)
    return DrawingsOnBackgrounds(train, args, seed=seed), DrawingsOnBackgrounds(emoji7["test"], args, as_stored=True)


def take_evenly(drawings: "Dataset", count: int | None) -> "Dataset":
    """Return so many rows, evenly spaced; all without a count."""
    if count is None or count >= len(drawings):
        return drawings
    places: Sequence[int] = np.linspace(0, len(drawings) - 1, count).round().astype(int).tolist()
    return drawings.select(places)


__all__ = ["DrawingsOnBackgrounds", "VQGANDataArguments", "load_drawings", "take_evenly"]
