"""Random changes of an image that depend on a seed and on nothing else.

The global generators of a resumed run do not continue where they stopped, so whoever draws passes a seed made from
(seed, epoch, index).
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image, ImageEnhance


@dataclass(frozen=True)
class Augmentation:
    """BriVL 1.0's colour changes and, off by default, an affine one.

    The original changes the resized float image; here it is the 8-bit image before the resize, which is cheaper.
    The original neither crops, flips nor moves the image: that would invalidate boxes.

    Args:
        brightness, contrast, saturation: x; the factor is drawn from 1 - x to 1 + x.
        hue: largest turn of the colour circle in either direction, in turns.
        jitter_probability: chance of the four changes above, which then come in random order.
        grayscale_probability: chance of a grey image.
        rotation_degrees: largest rotation in either direction, about the centre.
        scale_range: smallest and largest magnification.
        translate_fraction: largest shift in either direction, as a fraction of width and height.
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    jitter_probability: float = 0.8
    grayscale_probability: float = 0.2
    rotation_degrees: float = 0.0
    scale_range: tuple[float, float] = (1.0, 1.0)
    translate_fraction: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.scale_range[0] <= self.scale_range[1]:
            raise ValueError(f"scale_range is {self.scale_range}; expected 0 < smallest <= largest.")

    @property
    def is_geometric(self) -> bool:
        """True if the image's content can move, which invalidates boxes."""
        return (self.rotation_degrees, tuple(self.scale_range), self.translate_fraction) != (0, (1, 1), 0)

    def __call__(self, image: Image.Image, *, seed: int) -> Image.Image:
        """Return a changed copy of an RGB image, of the same size; the same seed gives the same image."""
        draw = random.Random(seed)
        if self.is_geometric:
            image = self._move(image, draw)
        if draw.random() < self.jitter_probability:
            image = self._jitter(image, draw)
        if draw.random() < self.grayscale_probability:
            image = image.convert("L").convert("RGB")
        return image

    def _jitter(self, image: Image.Image, draw: random.Random) -> Image.Image:
        brightness, contrast, saturation = (
            draw.uniform(max(0.0, 1 - strength), 1 + strength)
            for strength in (self.brightness, self.contrast, self.saturation)
        )
        turn = round(256 * draw.uniform(-self.hue, self.hue))
        changes = [
            lambda image: ImageEnhance.Brightness(image).enhance(brightness),
            lambda image: ImageEnhance.Contrast(image).enhance(contrast),
            lambda image: ImageEnhance.Color(image).enhance(saturation),
            lambda image: _turn_hue(image, turn),
        ]
        draw.shuffle(changes)
        for change in changes:
            image = change(image)
        return image

    def _move(self, image: Image.Image, draw: random.Random) -> Image.Image:
        angle = math.radians(draw.uniform(-self.rotation_degrees, self.rotation_degrees))
        scale = draw.uniform(*self.scale_range)
        shift_x, shift_y = (
            side * draw.uniform(-self.translate_fraction, self.translate_fraction) for side in image.size
        )
        # Pillow wants the map from the new image to the old one, so everything is inverted.
        cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
        centre_x, centre_y = image.width / 2, image.height / 2
        from_x, from_y = centre_x + shift_x, centre_y + shift_y
        offset_x = centre_x - cos * from_x - sin * from_y
        offset_y = centre_y + sin * from_x - cos * from_y
        matrix = (cos, sin, offset_x, -sin, cos, offset_y)
        return image.transform(
            image.size, Image.Transform.AFFINE, matrix, resample=Image.Resampling.BILINEAR, fillcolor="white"
        )


def draw_seed_of(row: Mapping[str, object]) -> int:
    """Return the `draw_seed` of a row.

    Raises:
        ValueError: it has none.
    """
    seed = row.get("draw_seed")
    if not isinstance(seed, int):
        raise ValueError("A row has no `draw_seed`, which augmentation needs: make one from (seed, epoch, index).")
    return seed


def _turn_hue(image: Image.Image, turn: int) -> Image.Image:
    same = list(range(256))
    return image.convert("HSV").point([(level + turn) % 256 for level in same] + same * 2).convert("RGB")


__all__ = ["Augmentation", "draw_seed_of"]
