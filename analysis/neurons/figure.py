"""Files of the visualisation: images with their texts in a grid, an animation of the steps, names for both."""

import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ...data.files.atomic import atomic_file
from ..plots.image_grid import PLAIN, Cell, draw_grid

COLUMNS, FRAME_MILLISECONDS, LAST_MILLISECONDS, NAME_LENGTH, GRID_IMAGE = 4, 80, 1500, 24, 160


def file_stem(number: int, text: str) -> str:
    """Return the beginning of the names of a text's files.

    >>> file_stem(3, "春眠不觉晓，处处闻啼鸟")
    '03_春眠不觉晓_处处闻啼鸟'
    """
    words = re.sub(r"\W+", "_", text)[:NAME_LENGTH].strip("_")
    return f"{number:02}_{words}"


def save_image(path: Path, image: Image.Image) -> None:
    """Write an image, whole or not at all."""
    with atomic_file(path) as unfinished:
        image.save(unfinished)


def save_animation(path: Path, frames: Sequence[Image.Image]) -> None:
    """Write a GIF that shows the frames again and again and rests at the last."""
    durations = [FRAME_MILLISECONDS] * (len(frames) - 1) + [LAST_MILLISECONDS]
    with atomic_file(path) as unfinished:
        frames[0].save(unfinished, save_all=True, append_images=frames[1:], duration=durations, loop=0)


def draw_texts(title: str, images: Sequence[tuple[str, Image.Image]], *, columns: int = COLUMNS) -> Image.Image:
    """Return a grid of images, each with its text below it.

    Raises:
        ValueError: a text has letters that no font has.
    """
    cells = [Cell(image, [(text, PLAIN)]) for text, image in images]
    rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
    return draw_grid(title, rows, image_size=min(GRID_IMAGE, max(image.width for _, image in images)))


__all__ = ["GRID_IMAGE", "draw_texts", "file_stem", "save_animation", "save_image"]
