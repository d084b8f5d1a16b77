"""Images with captions in rows and columns, in any of the seven languages."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image, ImageDraw

from .fonts import load_font
from .text_layout import shorten

CELL_WIDTH, IMAGE, MARGIN, LINE_SIZE, LINE_HEIGHT, BASELINE = 168, 96, 10, 15, 21, 18
PLAIN, RIGHT, WRONG, BACKGROUND = "#222222", "#137333", "#b3261e", "#ffffff"


@dataclass
class Cell:
    """One image (or none), the lines of text below it, each with its colour, and their language if not the grid's."""

    image: Image.Image | None = None
    lines: list[tuple[str, str]] = field(default_factory=list)
    language: str | None = None


def draw_grid(
    title: str, rows: Sequence[Sequence[Cell]], *, language: str = "zh", image_size: int = IMAGE
) -> Image.Image:
    """Return the image of a grid. Lines that are too long for a cell end in an ellipsis.

    Args:
        title: a line above it.
        rows: of cells.
        language: whose fonts and letter forms are preferred; each line is set in a font that has its letters.
        image_size: side of the square that images are shrunk into.

    Raises:
        ValueError: letters that no font has.
    """
    cell_width = max(CELL_WIDTH, image_size)
    heights = [_row_height(row, image_size) for row in rows]
    width = MARGIN + max(map(len, rows)) * (cell_width + MARGIN)
    canvas = Image.new("RGB", (width, 46 + sum(heights)), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    draw.text((MARGIN, 8), title, font=load_font(19, language, text=title, weight="Regular"), fill=PLAIN)
    top = 46
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            left, line_top = MARGIN + column * (cell_width + MARGIN), top
            if cell.image is not None:
                image = _on_white(cell.image, image_size)
                canvas.paste(image, (left + (cell_width - image.width) // 2, top + (image_size - image.height) // 2))
                line_top += image_size + 4
            for text, colour in cell.lines:
                font = load_font(LINE_SIZE, cell.language or language, text=text, weight="Regular")
                line = shorten(text, font, cell_width)
                draw.text((left, line_top + BASELINE), line, font=font, fill=colour, anchor="ls")
                line_top += LINE_HEIGHT
        top += height
    return canvas


def _row_height(row: Sequence[Cell], image_size: int) -> int:
    return (
        max(LINE_HEIGHT * len(cell.lines) + (image_size + 4 if cell.image is not None else 0) for cell in row) + MARGIN
    )


def _on_white(image: Image.Image, size: int) -> Image.Image:
    rgba = image.convert("RGBA")
    rgba.thumbnail((size, size))
    white = Image.new("RGBA", rgba.size, BACKGROUND)
    white.alpha_composite(rgba)
    return white.convert("RGB")


__all__ = ["PLAIN", "RIGHT", "WRONG", "Cell", "draw_grid"]
