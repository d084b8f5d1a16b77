"""Backgrounds of scenes: ten named colours in five patterns, each two shades of its colour."""

import random
from typing import TYPE_CHECKING

from .vocabulary import COLOUR_NAMES

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

COLOURS = COLOUR_NAMES["en"]
BACKGROUND_KINDS = ("flat", "gradient", "stripes", "checker", "noise")
RGB_CODES = "d63a36 f29230 f6d84a 4ea656 407cce 8654b6 f198c0 929292 f0f0f0 7a5238"
RGB = {name: tuple(bytes.fromhex(code)) for name, code in zip(COLOURS, RGB_CODES.split(), strict=True)}
SHADE = 14  # how far a pattern leaves its colour, of 255; less than what separates any two colours


def draw_background(colour: str, kind: str, rng: random.Random, noise: "np.random.Generator", canvas: int) -> "Image":
    """Return a square RGB image of `canvas` pixels a side.

    Args:
        colour: one of `COLOURS`.
        kind: one of `BACKGROUND_KINDS`.
        rng: draws direction and width of the pattern.
        noise: draws the pixels of the kind "noise", and nothing else.
        canvas: pixels a side.
    """
    import numpy as np
    from PIL import Image

    if kind == "flat":
        return Image.new("RGB", (canvas, canvas), RGB[colour])
    if kind == "noise":
        shade = noise.standard_normal((canvas, canvas), dtype=np.float32) * (SHADE / 2)
    else:
        shade = SHADE * _pattern(kind, rng, canvas)
    rgb = np.asarray(RGB[colour], np.float32) + shade[..., None]
    return Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8))


def _pattern(kind: str, rng: random.Random, canvas: int) -> "np.ndarray":
    """Return values from -1 to 1, (canvas, canvas)."""
    import numpy as np

    x, y = np.arange(canvas, dtype=np.float32), np.arange(canvas, dtype=np.float32)[:, None]
    along_x, along_y = rng.choice([(1, 0), (0, 1), (1, 1), (1, -1)])
    ramp = along_x * x + along_y * y
    if kind == "gradient":
        ramp = (ramp - ramp.min()) * (2 / np.ptp(ramp)) - 1
        return np.broadcast_to(rng.choice([1, -1]) * ramp, (canvas, canvas))
    width = rng.randint(8, 24)
    cells = ramp // width if kind == "stripes" else x // width + y // width
    return np.broadcast_to(cells % 2 * 2 - 1, (canvas, canvas))


__all__ = ["BACKGROUND_KINDS", "COLOURS", "draw_background"]
