"""Attention from words to regions drawn into the image: a panel a language for one word, or a grid for several."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import groupby
from os import PathLike

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ...processing.image_decoding import decode_image
from ..plots.boxes import draw_regions, enlarge
from ..plots.fonts import load_font
from ..plots.text_layout import break_lines, line_height
from .attention import RegionAttention
from .words import Span, find_word

GLOW = (255, 120, 0)
INK, QUIET, WORD, GROUND = "#222222", "#767676", "#c2410c", "#ffffff"
MARGIN, LETTERS = 12, 15
ALPHA = 0.5  # of the colour where attention is greatest


def draw_region_attention(
    image: Image.Image, boxes: Tensor, weights: Tensor, *, scale: float = 1.0, top: int = 3, peak: float | None = None
) -> Image.Image:
    """Return the image with what is attended to in colour and shaded orange, the rest pale and grey.

    A pixel is as bright as the weights of the regions that hold it together. The regions with the greatest weights
    are outlined, with their fractions.

    Args:
        image: of any mode.
        boxes: (n, 4) x1, y1, x2, y2 in its pixels.
        weights: (n,), such as `RegionAttention.of` gives.
        scale: enlarges the image first.
        top: how many regions are outlined.
        peak: sum of weights that is shaded fully; None: the greatest in this image. One peak makes images
            comparable.

    Raises:
        ValueError: weights that are not as many as the boxes.
    """
    image = decode_image(image)
    if len(boxes) != len(weights):
        raise ValueError(f"There are {len(weights)} weights for {len(boxes)} boxes.")
    image, boxes = enlarge(image, scale), boxes * scale
    heat = heat_map(image.size, boxes, weights)
    strength = (heat / max(heat.max() if peak is None else peak, 1e-12)).clip(0, 1)[..., None]
    pixels = np.asarray(image, dtype=np.float32)
    pale = 0.35 * np.asarray(image.convert("L"), dtype=np.float32)[..., None] + 0.65 * 255
    shaded = (1 - strength) * pale + strength * ((1 - ALPHA) * pixels + ALPHA * np.array(GLOW, dtype=np.float32))
    best = weights.topk(min(top, len(weights))).indices
    drawn = Image.fromarray(shaded.round().astype(np.uint8))
    return draw_regions(drawn, boxes[best], scores=weights[best])


def heat_map(size: tuple[int, int], boxes: Tensor, weights: Tensor) -> np.ndarray:
    """Return (h, w) float32: of each pixel, the sum of the weights of the boxes that hold it.

    Args:
        size: width and height of the image.
        boxes: (n, 4) x1, y1, x2, y2 in pixels.
        weights: (n,).
    """
    width, height = size
    heat = np.zeros((height, width), dtype=np.float32)
    for (x1, y1, x2, y2), weight in zip(boxes.tolist(), weights.tolist(), strict=True):
        left, top = max(int(x1), 0), max(int(y1), 0)
        heat[top : max(round(y2), top + 1), left : max(round(x2), left + 1)] += weight
    return heat


def draw_attention_panels(
    image: Image.Image,
    attentions: Mapping[str, RegionAttention],
    words: Mapping[str, str | Sequence[str]],
    *,
    scale: float = 1.0,
    columns: int = 4,
    top: int = 3,
    font: str | PathLike | None = None,
) -> Image.Image:
    """Return the image, then one panel a language: its text with the words marked, and what they attend to.

    All panels have one scale of shades. A panel wants some 250 pixels of width: see `scale`.

    Args:
        image: of any mode.
        attentions: of the text in each language, in pixels of the image.
        words: of each language, whose attention is drawn.
        scale: enlarges the image first.
        columns: panels in a row.
        top: how many regions are outlined.
        font: a font file for all languages; without it fonts of `wenlan[demo]`.

    Raises:
        ValueError: no attention, no words for a language, words that are not in its text, or text that the font lacks.
        FileNotFoundError: no such font.
    """
    if not attentions:
        raise ValueError("There is no attention to draw.")
    if missing := [language for language in attentions if not words.get(language)]:
        raise ValueError(f"There are no words to draw the attention of in {', '.join(missing)}.")
    image = decode_image(image)
    shown = {}
    for language, attention in attentions.items():
        chosen = words[language]
        chosen = [chosen] if isinstance(chosen, str) else chosen
        places = [place for word in chosen for place in find_word(attention.text, word)]
        shown[language] = [(places, attention.of(chosen))]
    rows = _draw_panels(image, attentions, shown, scale=scale, top=top, font=font)
    panels = [enlarge(image, scale), *(panel for row in rows for panel in row)]
    return _in_rows([panels[first : first + columns] for first in range(0, len(panels), columns)])


def draw_attention_grid(
    image: Image.Image,
    attentions: Mapping[str, RegionAttention],
    words: Mapping[str, Sequence[Span]],
    *,
    scale: float = 1.0,
    top: int = 3,
    font: str | PathLike | None = None,
) -> Image.Image:
    """Return figure 6: the image, then a row a language and a column a word, each the sentence and what is attended to.

    All panels have one scale of shades. A panel wants some 250 pixels of width: see `scale`.

    Args:
        image: of any mode.
        attentions: of the sentence in each language, in pixels of the image.
        words: of each language, the places of k words; word i of one language translates word i of another.
        scale: enlarges the image first.
        top: how many regions are outlined.
        font: a font file for all languages; without it fonts of `wenlan[demo]`.

    Raises:
        ValueError: no attention, no words for a language, a word that was cut off, or text that the font lacks.
        FileNotFoundError: no such font.
    """
    if not attentions or not all(words.get(language) for language in attentions):
        raise ValueError("There is no attention to draw: give a sentence with its words in each language.")
    image = decode_image(image)
    shown = {
        language: [([span], attention.at([span])) for span in words[language]]
        for language, attention in attentions.items()
    }
    return _in_rows([[enlarge(image, scale)], *_draw_panels(image, attentions, shown, scale=scale, top=top, font=font)])


def _draw_panels(
    image: Image.Image,
    attentions: Mapping[str, RegionAttention],
    shown: Mapping[str, Sequence[tuple[Sequence[Span], Tensor]]],
    *,
    scale: float,
    top: int,
    font: str | PathLike | None,
) -> list[list[Image.Image]]:
    """Return a row of panels for each language, one for each of its (marked places, weights)."""
    heats = [
        heat_map(image.size, attentions[one].boxes, weights) for one, cells in shown.items() for _, weights in cells
    ]
    peak = max(float(heat.max()) for heat in heats)
    rows = []
    for language, attention in attentions.items():
        letters = load_font(LETTERS, language, text=language + attention.text, path=font)
        draw = partial(draw_region_attention, image, attention.boxes, scale=scale, top=top, peak=peak)
        rows.append(
            [_panel(draw(weights), language, attention.text, places, letters) for places, weights in shown[language]]
        )
    return rows


def _panel(
    image: Image.Image, language: str, text: str, places: Sequence[Span], letters: ImageFont.FreeTypeFont
) -> Image.Image:
    """Return the image below its language and text, which is broken into lines and marked in some places."""
    lines, height = break_lines(text, letters, image.width), line_height(letters)
    top = (len(lines) + 1) * height + 6
    panel = Image.new("RGB", (image.width, top + image.height), GROUND)
    draw = ImageDraw.Draw(panel)
    draw.text((0, 0), language, font=letters, fill=QUIET)
    for row, (start, line) in enumerate(lines, 1):
        marks = [any(first <= start + index < last for first, last in places) for index in range(len(line))]
        left = 0.0
        for is_marked, run in groupby(range(len(line)), marks.__getitem__):
            part = "".join(line[index] for index in run)
            draw.text((left, row * height), part, font=letters, fill=WORD if is_marked else INK)
            left += letters.getlength(part)
    panel.paste(image, (0, top))
    return panel


def _in_rows(rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Return the panels row by row, the images of a row on one line."""
    heights = [max(panel.height for panel in row) for row in rows]
    width = max(sum(panel.width + MARGIN for panel in row) for row in rows) + MARGIN
    sheet = Image.new("RGB", (width, sum(heights) + MARGIN * (len(rows) + 1)), GROUND)
    top = MARGIN
    for row, height in zip(rows, heights, strict=True):
        left = MARGIN
        for panel in row:
            sheet.paste(panel, (left, top + height - panel.height))
            left += panel.width + MARGIN
        top += height + MARGIN
    return sheet


__all__ = ["draw_attention_grid", "draw_attention_panels", "draw_region_attention", "heat_map"]
