"""The neighbours of a word in several spaces as graphs beside each other (figures 8-10)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from ..plots.fonts import load_font, readable
from ..plots.text_layout import shorten

if TYPE_CHECKING:
    import networkx

PANEL, HEAD, FOOT, MARGIN = 720, 64, 40, 14  # pixels
LETTERS, GAP = 17, 5
NEAREST = 3  # words of the panel that a word has edges to, beside the word in the middle
RED, ORANGE, GREY, LINE, INK = "#b3261e", "#f6a54b", "#e3e8ee", "#c9cfd6", "#222222"


@dataclass(frozen=True)
class Neighborhood:
    """A word and its nearest neighbours in a space.

    Attributes:
        space: its name.
        words: the word itself, then its neighbours, the nearest first.
        cosines: (k + 1, k + 1) of all of them.
    """

    space: str
    words: list[str]
    cosines: np.ndarray


def draw_neighborhoods(found: Sequence[Neighborhood], *, seed: int = 0) -> Image.Image:
    """Return the graph of one word, a panel a space; words that are in two of them or more are orange.

    Words are near each other where their vectors are (a spring layout), as far as their labels leave room. A word with
    letters that no font has is labelled with its place among the neighbours, as in `neighbours.csv`.

    Args:
        found: of the same word.
        seed: of the layout.

    Raises:
        ImportError: networkx is missing.
    """
    counts = Counter(word for one in found for word in one.words[1:])
    canvas = Image.new("RGB", (len(found) * PANEL, HEAD + PANEL + FOOT), "white")
    draw = ImageDraw.Draw(canvas)
    for number, one in enumerate(found):
        left = number * PANEL
        shared = {word for word in one.words[1:] if counts[word] > 1}
        space = readable(one.space, f"space {number + 1}")
        title = load_font(20, text=space)
        draw.text((left + MARGIN, 16), shorten(space, title, PANEL - 2 * MARGIN), font=title, fill=INK)
        _draw_panel(draw, one, shared, (left, HEAD), seed)
        if number:
            draw.line([(left, MARGIN), (left, canvas.height - MARGIN)], fill=LINE)
    number = sum(count > 1 for count in counts.values())
    count = len(found[0].words) - 1
    text = f"{found[0].words[0]}: {count} 个近邻 neighbours; 橙色 orange: 两边都有 shared, {number}"
    text = readable(text, f"{count} neighbours; orange: shared, {number}")
    draw.text((MARGIN, HEAD + PANEL + 8), text, font=load_font(16, text=text), fill=INK)
    return canvas


def _draw_panel(
    draw: ImageDraw.ImageDraw, one: Neighborhood, shared: set[str], corner: tuple[int, int], seed: int
) -> None:
    labels = [readable(word, f"#{place}") for place, word in enumerate(one.words)]
    graph, fonts = neighbor_graph(one.cosines), [load_font(LETTERS, text=label) for label in labels]
    sizes = np.array([font.getlength(label) for font, label in zip(fonts, labels, strict=True)])
    boxes = np.stack([sizes + 2 * GAP, np.full(len(sizes), LETTERS + 2.4 * GAP)], axis=1)
    centres = spread(layout(graph, seed=seed) * (PANEL - 100) + 50, boxes, PANEL) + corner
    for first, second in graph.edges:
        draw.line([tuple(centres[first]), tuple(centres[second])], fill=LINE, width=1)
    for index in reversed(range(len(one.words))):  # the word itself is on top
        word, (x, y), (width, height) = one.words[index], centres[index], boxes[index]
        fill = RED if not index else ORANGE if word in shared else GREY
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        draw.rounded_rectangle(box, 6, fill=fill, outline="white")
        draw.text((x, y), labels[index], font=fonts[index], fill=INK if index else "white", anchor="mm")


def neighbor_graph(cosines: np.ndarray) -> "networkx.Graph":
    """Return a graph of a word, 0, with edges to all others; each of these has edges to those nearest to it.

    Args:
        cosines: (k + 1, k + 1); the weights of the edges, scaled to the range from 0.1 to 1.
    """
    import networkx

    off = cosines[~np.eye(len(cosines), dtype=bool)]
    weights = 0.1 + 0.9 * (cosines - off.min()) / max(np.ptp(off), 1e-9)
    graph = networkx.Graph()
    graph.add_nodes_from(range(len(cosines)))
    for index in range(1, len(cosines)):
        others = [other for other in np.argsort(-cosines[index], kind="stable").tolist() if other not in (0, index)]
        for other in (0, *others[:NEAREST]):
            graph.add_edge(index, other, weight=float(weights[index, other]))
    return graph


def layout(graph: "networkx.Graph", *, seed: int) -> np.ndarray:
    """Return (n, 2) places of the nodes of a graph by springs, between 0 and 1."""
    import networkx

    places = networkx.spring_layout(graph, seed=seed, iterations=200, k=1.6 / np.sqrt(len(graph)))
    found = np.array([places[node] for node in range(len(graph))])
    return (found - found.min(axis=0)) / np.maximum(np.ptp(found, axis=0), 1e-9)


def spread(centres: np.ndarray, boxes: np.ndarray, side: float, *, rounds: int = 400) -> np.ndarray:
    """Return (n, 2) centres of boxes, moved as far apart as need be for none to cover another.

    Args:
        centres: (n, 2) x, y.
        boxes: (n, 2) widths and heights.
        side: of the square that they stay in.
        rounds: after which they are left as they are.
    """
    centres, low, high = centres.copy(), boxes / 2 + 4, side - boxes / 2 - 4
    room = (boxes[:, None] + boxes[None]) / 2 + 3
    for _ in range(rounds):
        apart = centres[:, None] - centres[None]
        covered = room - np.abs(apart)
        overlap = (covered > 0).all(axis=2) & ~np.eye(len(boxes), dtype=bool)
        if not overlap.any():
            break
        axis = covered.argmin(axis=2)  # they move the shorter way
        push = np.where(apart >= 0, 1.0, -1.0) * covered * overlap[..., None] * np.eye(2)[axis]
        tie = np.sign(np.arange(len(boxes))[:, None] - np.arange(len(boxes)))[..., None]
        push = np.where(apart == 0, tie * np.abs(push), push)
        centres = np.clip(centres + 0.3 * push.sum(axis=1), low, high)
    return centres


__all__ = ["Neighborhood", "draw_neighborhoods", "layout", "neighbor_graph", "spread"]
