"""A figure of the classes that a classifier knows best and worst, with images of each and what it took them for."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from .plots.image_grid import PLAIN, RIGHT, WRONG, Cell, draw_grid

SIGNS = {True: "✓", False: "×"}  # of right and wrong, for readers who do not see the colours


@dataclass(frozen=True)
class ClassExamples:
    """A class and some of its images.

    Attributes:
        name: of the class.
        accuracy: in percent.
        count: images that the accuracy is of.
        images: each with the name of the class that it was taken for.
    """

    name: str
    accuracy: float
    count: int
    images: Sequence[tuple[Image.Image, str]]


def draw_class_examples(
    title: str, best: Sequence[ClassExamples], worst: Sequence[ClassExamples], *, language: str = "zh"
) -> Image.Image:
    """Return the figure: the best classes above the worst, a column each, with one image below the other.

    Args:
        title: a line above it.
        best, worst: classes.
        language: of the names.

    Raises:
        ValueError: letters that no font has.
    """
    rows = []
    for classes in (best, worst):
        rows.append([Cell(None, _heading(one)) for one in classes])
        for row in range(max(len(one.images) for one in classes)):
            rows.append([_cell(one, row) for one in classes])
    return draw_grid(title, rows, language=language)


def _heading(examples: ClassExamples) -> list[tuple[str, str]]:
    return [(f"● {examples.name}", PLAIN), (f"{examples.accuracy:.0f} %, n = {examples.count}", PLAIN)]


def _cell(examples: ClassExamples, row: int) -> Cell:
    if row >= len(examples.images):
        return Cell()
    image, name = examples.images[row]
    is_right = name == examples.name
    return Cell(image, [(f"{SIGNS[is_right]} {name}", RIGHT if is_right else WRONG)])


__all__ = ["ClassExamples", "draw_class_examples"]
