"""One emoji7 drawing, turned and scaled, cut to what can be seen of it: the image of an object and its exact box."""

from functools import cache
from typing import TYPE_CHECKING

from ..emoji7.dataset import FOLDER
from .vocabulary import SCENE_CLASSES

if TYPE_CHECKING:
    from PIL.Image import Image

TRAIN_STYLES = ("noto", "twemoji", "notov1", "emojitwo")
STYLES = (*TRAIN_STYLES, "fluentflat", "fluent3d")
VISIBLE = 24  # alpha above this counts as part of the object
_IS_VISIBLE = [255 * (alpha > VISIBLE) for alpha in range(256)]


@cache
def _encoded_art(style: str) -> dict[str, bytes]:
    import pyarrow.parquet as pq

    wanted = [("concept", "in", {one.concept for one in SCENE_CLASSES})]
    rows = pq.read_table(FOLDER / f"images_{style}.parquet", filters=wanted).to_pylist()
    return {row["concept"]: row["image"] for row in rows}


@cache
def styles_of_class(category_id: int, styles: tuple[str, ...] = STYLES) -> tuple[str, ...]:
    """Return those of `styles` that have a drawing of the class; 20 classes lack notov1 and emojitwo."""
    return tuple(style for style in styles if SCENE_CLASSES[category_id].concept in _encoded_art(style))


@cache  # at most 128 x 6 drawings of 37 kB
def _art(category_id: int, style: str) -> "Image":
    import io

    from PIL import Image

    image = Image.open(io.BytesIO(_encoded_art(style)[SCENE_CLASSES[category_id].concept])).convert("RGBA")
    # Premultiplied by its alpha here, once, and not again each time that it is turned and scaled.
    return image.crop(image.getchannel("A").getbbox()).convert("RGBa")


def draw_object(category_id: int, style: str, *, side: int, flipped: bool, angle: float) -> "Image":
    """Return the RGBA image of an object, cut to the smallest box that holds every pixel with alpha above 24.

    Args:
        style: one of `styles_of_class(category_id)`.
        side: its longest side in pixels. (The last cut may take a faint row off, so that it has one less: rarely.)
        flipped: mirrored, left to right.
        angle: degrees counter-clockwise.
    """
    from PIL.Image import Resampling, Transpose

    image = _art(category_id, style)
    if flipped:
        image = image.transpose(Transpose.FLIP_LEFT_RIGHT)
    image = image.rotate(angle, Resampling.BILINEAR, expand=True)
    image = image.crop(_visible_box(image))
    scale = side / max(image.size)
    size = [max(1, round(length * scale)) for length in image.size]
    image = image.resize(size, Resampling.BICUBIC, reducing_gap=2.0)
    return image.crop(_visible_box(image)).convert("RGBA")


def _visible_box(image: "Image") -> tuple[int, int, int, int]:
    box = image.getchannel(3).point(_IS_VISIBLE).getbbox()
    assert box is not None, "every drawing has visible pixels"
    return box


__all__ = ["STYLES", "TRAIN_STYLES", "VISIBLE", "draw_object", "styles_of_class"]
