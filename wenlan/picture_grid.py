"""Pictures with captions in rows and columns, in any of the seven languages."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from PIL import Image, ImageDraw, ImageFont

CELL_WIDTH, PICTURE, MARGIN, LINE_HEIGHT = 168, 96, 10, 21
PLAIN, RIGHT, WRONG, BACKGROUND = "#222222", "#137333", "#b3261e", "#ffffff"
FACES = {"ja": 0, "ko": 1, "zh": 2}  # order of the faces inside the font collection


@dataclass
class Cell:
    """One picture (or none) and the lines of text below it, each with its colour."""

    image: Image.Image | None = None
    lines: list[tuple[str, str]] = field(default_factory=list)


@cache
def load_font(size: int = 15, language: str = "zh") -> ImageFont.FreeTypeFont:
    """Returns Noto Sans CJK with the letter forms of "zh" (simplified), "ja" or "ko"; it has Latin letters too.

    Raises:
        ImportError: without the package that carries it: a picture with boxes for letters is never drawn.
    """
    try:
        folder = files("manimgx_fonts_cjk")
    except ModuleNotFoundError as error:
        raise ImportError("Pictures with Chinese text need a font: pip install 'wenlan[demo]'") from error
    font = ImageFont.truetype(str(folder / "NotoSansCJK-VF.otf.ttc"), size, index=FACES.get(language, FACES["zh"]))
    font.set_variation_by_name("Regular")
    return font


def draw_grid(title: str, rows: Sequence[Sequence[Cell]], *, language: str = "zh") -> Image.Image:
    """Returns the picture of a grid. Lines that are too long for a cell end in an ellipsis."""
    font, heading = load_font(15, language), load_font(19, language)
    heights = [_row_height(row) for row in rows]
    width = MARGIN + max(map(len, rows)) * (CELL_WIDTH + MARGIN)
    canvas = Image.new("RGB", (width, 46 + sum(heights)), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    draw.text((MARGIN, 8), title, font=heading, fill=PLAIN)
    top = 46
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            left, line_top = MARGIN + column * (CELL_WIDTH + MARGIN), top
            if cell.image is not None:
                picture = _on_white(cell.image)
                canvas.paste(picture, (left + (CELL_WIDTH - picture.width) // 2, top + (PICTURE - picture.height) // 2))
                line_top += PICTURE + 4
            for text, colour in cell.lines:
                draw.text((left, line_top), _shorten(text, font), font=font, fill=colour)
                line_top += LINE_HEIGHT
        top += height
    return canvas


def _row_height(row: Sequence[Cell]) -> int:
    return max(LINE_HEIGHT * len(cell.lines) + (PICTURE + 4 if cell.image is not None else 0) for cell in row) + MARGIN


def _on_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    rgba.thumbnail((PICTURE, PICTURE))
    white = Image.new("RGBA", rgba.size, BACKGROUND)
    white.alpha_composite(rgba)
    return white.convert("RGB")


def _shorten(text: str, font: ImageFont.FreeTypeFont) -> str:
    if font.getlength(text) <= CELL_WIDTH:
        return text
    while text and font.getlength(text + "…") > CELL_WIDTH:
        text = text[:-1]
    return text + "…"


__all__ = ["PLAIN", "RIGHT", "WRONG", "Cell", "draw_grid", "load_font"]
