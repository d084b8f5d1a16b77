"""Random changes of an image and its boxes that depend on a seed and on nothing else."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from PIL import Image, ImageOps

from .image import Augmentation


class ColourChanges(TypedDict, total=False):
    """Fields of `Augmentation` that do not move anything."""

    brightness: float
    contrast: float
    saturation: float
    hue: float
    jitter_probability: float
    grayscale_probability: float


NO_COLOURS: ColourChanges = {"jitter_probability": 0.0, "grayscale_probability": 0.0}


@dataclass(frozen=True)
class DetectionAugmentation:
    """Mirrors, rescales and recolours.

    Args:
        flip_probability: chance of a mirror image, left for right.
        scale_range: smallest and largest magnification; the same for all images of a batch, applied to the size that
            the processor resizes to.
        colours: fields of `wenlan.processing.Augmentation` that do not move anything; by default no colour changes.
    """

    flip_probability: float = 0.5
    scale_range: Sequence[float] = (1.0, 1.0)
    colours: ColourChanges = field(default_factory=NO_COLOURS.copy)

    def __post_init__(self) -> None:
        if not 0 < self.scale_range[0] <= self.scale_range[1]:
            raise ValueError(f"scale_range is {self.scale_range}; expected 0 < smallest <= largest.")
        if Augmentation(**self.colours).is_geometric:
            raise ValueError(f"colours is {self.colours}; a moved image would leave its boxes behind.")

    def __call__(
        self, image: Image.Image, boxes: Sequence[Sequence[float]], *, seed: int
    ) -> tuple[Image.Image, list[list[float]]]:
        """Return a changed copy of an RGB image, of the same size, and its boxes; the same for the same seed.

        Args:
            boxes: [x, y, width, height] in its pixels.
            seed: made from (seed, epoch, index).
        """
        draw = random.Random(seed)
        kept = [list(box) for box in boxes]
        if draw.random() < self.flip_probability:
            image = ImageOps.mirror(image)
            kept = [[image.width - x - width, y, width, height] for x, y, width, height in boxes]
        return Augmentation(**self.colours)(image, seed=draw.getrandbits(63)), kept

    def draw_scale(self, seed: int) -> float:
        """Return the magnification of a batch, the same for the same seed."""
        return random.Random(f"scale-{seed}").uniform(*self.scale_range)


__all__ = ["DetectionAugmentation"]
