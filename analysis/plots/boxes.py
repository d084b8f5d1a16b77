"""Images with their regions drawn in: boxes, and plates with the names of what they hold."""

import colorsys
import zlib
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import NotRequired, TypedDict

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ...modeling_region_detector.array_images import to_rgb
from ...modeling_region_detector.configuration_region_detector import RegionDetectorConfig
from ...processing.regions.output import RegionOutput
from .fonts import load_font
from .text_layout import line_height, shorten

Rectangle = tuple[int, int, int, int]


class NamedRegions(TypedDict):
    """Arguments of `draw_regions` for the n regions of one image."""

    boxes: torch.Tensor
    labels: list[str]
    scores: torch.Tensor
    attributes: NotRequired[list[str]]


def draw_regions(
    image: Image.Image,
    boxes: Sequence[Sequence[float]] | np.ndarray | torch.Tensor,
    *,
    labels: Sequence[str] | None = None,
    scores: Sequence[float] | np.ndarray | torch.Tensor | None = None,
    attributes: Sequence[str] | None = None,
    scale: float = 1.0,
    font: str | PathLike | None = None,
) -> Image.Image:
    """Return a copy of the image with its boxes, each with a plate such as "red car 87%".

    A class has the same colour in every image. Lines and letters grow with the image. Plates stay inside it, and
    keep clear of one another while there is room; the first boxes choose first.

    Args:
        image: of any mode.
        boxes: (n, 4) x1 y1 x2 y2 in its pixels; n may be 0. What lies outside is not drawn.
        labels, scores: a name and a probability each.
        attributes: a word each that goes before the name; "" for none.
        scale: enlarges the image first. Labels need some 11 pixels of height: images of 200 pixels want 3.
        font: a font file. Without it each name is set in a font that has its letters: one of `wenlan[demo]`, or the
            Latin letters that come with Pillow.

    Raises:
        ValueError: boxes that are not finite or reversed, with the row; names that are not as many as the boxes; a
            name with letters that the font lacks.
        FileNotFoundError: no such font.
    """
    boxes = _check_boxes(boxes)
    captions = _captions(len(boxes), labels, scores, attributes)
    image, boxes = enlarge(to_rgb(image), scale), boxes * scale
    letter_size = max(11, min(image.size) // 28)
    fonts = {text: load_font(letter_size, text=text, path=font) for text in ["", *captions]}
    colours = [_colour(name) for name in (labels or [str(row) for row in range(len(boxes))])]
    rectangles = [_inside(box, image.size) for box in boxes.tolist()]
    draw = ImageDraw.Draw(image)
    thickness = max(2, round(min(image.size) / 200))
    for row in sorted(range(len(boxes)), key=lambda row: -_area(rectangles[row])):  # small ones stay visible
        if (rectangle := rectangles[row]) is not None:
            _outline(draw, rectangle, thickness, colours[row])
    plates = _place_plates(rectangles, captions, fonts, image.size)
    for row, (plate, text) in reversed(plates.items()):  # where plates overlap, the first is on top
        draw.rectangle((plate[0], plate[1], plate[2] - 1, plate[3] - 1), fill=colours[row])
        start, letters = (plate[0] + _margin(letter_size), (plate[1] + plate[3]) / 2), fonts[captions[row]]
        draw.text(start, text, font=letters, fill=_ink(colours[row]), anchor="lm")
    return image


def enlarge(image: Image.Image, scale: float) -> Image.Image:
    """Return a copy with both sides times `scale`, at least 1 pixel."""
    if scale == 1:
        return image.copy()
    width, height = (max(round(side * scale), 1) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def name_regions(output: RegionOutput, config: RegionDetectorConfig, *, row: int = 0) -> NamedRegions:
    """Return the regions of one image for `draw_regions(image, **name_regions(output, config))`.

    Args:
        output: of a `RegionFeatureExtractor`.
        config: its configuration, which has the names.
        row: which image.
    """
    real, classes = output.attention_mask[row].bool(), config.id2label
    assert classes is not None  # every configuration of a detector has them
    named: NamedRegions = {
        "boxes": output.boxes[row][real],
        "labels": [classes[index] for index in output.object_ids[row][real].tolist()],
        "scores": output.object_scores[row][real],
    }
    if output.attribute_ids is not None:
        names = config.attribute_names or [f"attribute {index}" for index in range(config.num_attributes)]
        named["attributes"] = [names[index] for index in output.attribute_ids[row][real].tolist()]
    return named


def _check_boxes(boxes: Sequence[Sequence[float]] | np.ndarray | torch.Tensor) -> torch.Tensor:
    boxes = torch.as_tensor(np.asarray(boxes, dtype=np.float32)) if not torch.is_tensor(boxes) else boxes.float().cpu()
    boxes = boxes.reshape(0, 4) if boxes.numel() == 0 else boxes
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"The boxes have shape {tuple(boxes.shape)}; expected (n, 4): x1, y1, x2, y2.")
    wrong = ~(boxes.isfinite().all(dim=1) & (boxes[:, 2:] >= boxes[:, :2]).all(dim=1))
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise ValueError(f"Box {row} is {boxes[row].tolist()}; expected finite x1 <= x2 and y1 <= y2 in pixels.")
    return boxes


def _captions(
    count: int,
    labels: Sequence[str] | None,
    scores: Sequence[float] | np.ndarray | torch.Tensor | None,
    attributes: Sequence[str] | None,
) -> list[str]:
    columns = []
    for name, column in (("attributes", attributes), ("labels", labels), ("scores", scores)):
        if column is not None:
            if len(column) != count:
                raise ValueError(f"{len(column)} {name} for {count} boxes; give one a box.")
            columns.append([f"{float(score):.0%}" for score in column] if name == "scores" else column)
    return [" ".join(filter(None, words)) for words in zip(*columns, strict=True)] if columns else [""] * count


def _colour(name: str) -> tuple[int, int, int]:
    # The golden ratio spreads neighbouring numbers over the hues; three depths tell close hues apart.
    number = zlib.crc32(name.encode())
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.85, (0.95, 0.75, 0.55)[number % 3])
    return round(red * 255), round(green * 255), round(blue * 255)


def _ink(colour: tuple[int, int, int]) -> str:
    red, green, blue = ((value / 255) ** 2.2 for value in colour)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue  # WCAG: above 0.179 black has the higher contrast
    return "black" if luminance > 0.179 else "white"


def _inside(box: list[float], size: tuple[int, int]) -> Rectangle | None:
    """Return the whole pixels of a box that are in the image, the far ones excluded; None if there are none."""
    x1, y1, x2, y2 = box
    if x1 >= size[0] or y1 >= size[1] or x2 <= 0 or y2 <= 0:
        return None
    left, top = (int(min(max(near, 0), side - 1)) for near, side in zip((x1, y1), size, strict=True))
    right, bottom = (round(min(far, side)) for far, side in zip((x2, y2), size, strict=True))
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _area(rectangle: Rectangle | None) -> int:
    return 0 if rectangle is None else (rectangle[2] - rectangle[0]) * (rectangle[3] - rectangle[1])


def _outline(draw: ImageDraw.ImageDraw, rectangle: Rectangle, thickness: int, colour: tuple[int, int, int]) -> None:
    left, top, right, bottom = rectangle
    # A line of the opposite brightness within shows the box on a ground of its own colour.
    inner = (left + thickness, top + thickness, right - 1 - thickness, bottom - 1 - thickness)
    if inner[0] < inner[2] and inner[1] < inner[3]:
        draw.rectangle(inner, outline="white" if _ink(colour) == "white" else "black", width=max(1, thickness // 3))
    draw.rectangle((left, top, right - 1, bottom - 1), outline=colour, width=thickness)


def _margin(letter_size: float) -> int:
    return max(2, round(letter_size / 5))


def _place_plates(
    rectangles: list[Rectangle | None],
    captions: list[str],
    fonts: Mapping[str, ImageFont.FreeTypeFont],
    size: tuple[int, int],
) -> dict[int, tuple[Rectangle, str]]:
    """Return where the plate of each row is and what it says; those that cannot fit in the image are left out."""
    placed: dict[int, tuple[Rectangle, str]] = {}
    for row, (rectangle, caption) in enumerate(zip(rectangles, captions, strict=True)):
        letters = fonts[caption]
        margin, height = _margin(letters.size), line_height(letters)
        text = shorten(caption, letters, size[0] - 2 * margin)
        if rectangle is None or not text or height > size[1]:
            continue
        width = min(round(letters.getlength(text)) + 2 * margin, size[0])
        candidates = _candidates(rectangle, width, height, size)
        taken = [plate for plate, _ in placed.values()]
        placed[row] = min(candidates, key=lambda plate: sum(_overlap(plate, other) for other in taken)), text
    return placed


def _candidates(rectangle: Rectangle, width: int, height: int, size: tuple[int, int]) -> list[Rectangle]:
    """Return places for a plate, the best first: on the box, in its corners, below it, then down and up its sides."""
    left, top, right, bottom = rectangle
    places = [(left, top - height), (left, top), (right - width, top - height), (right - width, top)]
    places += [(left, bottom), (left, bottom - height), (right - width, bottom), (right - width, bottom - height)]
    places += [(x, y) for y in range(top, bottom - height, height) for x in (left, right - width)]
    places += [(x, top - step * height) for step in (2, 3, 4) for x in (left, right - width)]
    places += [(x, bottom + step * height) for step in (1, 2, 3) for x in (left, right - width)]
    corners = [(min(max(x, 0), size[0] - width), min(max(y, 0), size[1] - height)) for x, y in places]
    return [(x, y, x + width, y + height) for x, y in dict.fromkeys(corners)]


def _overlap(one: Rectangle, other: Rectangle) -> int:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0) * max(height, 0)


__all__ = ["draw_regions", "enlarge", "name_regions"]
