"""The distribution of the Jaccard index over words, a line a pair of spaces (figure 7)."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 50


def histogram(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the densities (50,) of values between 0 and 1, and the edges (51,) of their bins."""
    return np.histogram(values, bins=BINS, range=(0, 1), density=True)


def draw_histograms(
    pairs: Mapping[str, np.ndarray],
    controls: Mapping[str, float],
    *,
    k: int,
    words: int,
    family: Sequence[str] = ("sans-serif",),
) -> "Figure":
    """Return a figure of matplotlib: the density of each pair, and the means of controls in it.

    Args:
        pairs: by the name of two spaces the index of each word.
        controls: by name the mean index of a space and what was made of it.
        k: neighbours that the index is of.
        words: of the vocabulary.
        family: fonts.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for index, (name, values) in enumerate(pairs.items()):
        densities, edges = histogram(values)
        label = f"{name}: {values.mean():.3f}"
        axes.stairs(densities, edges, fill=True, alpha=0.25, color=f"C{index}")
        axes.stairs(densities, edges, color=f"C{index}", linewidth=1.5, label=label)
    axes.set_xlim(0, 1)
    axes.set_xlabel(f"Jaccard index of the {k} nearest neighbours, {words:,} words")
    axes.set_ylabel("density")
    axes.legend(loc="upper right", prop={"family": list(family), "size": 9}, title="mean")
    width = max(map(len, controls), default=0)
    lines = ["controls, mean", *(f"{name:<{width}}  {value:.4f}" for name, value in controls.items())]
    text: dict[str, Any] = {
        "family": ["DejaVu Sans Mono", *family],
        "size": 8,
        "va": "center",
        "ha": "right",
        "ma": "left",
    }
    axes.text(0.98, 0.5, "\n".join(lines), transform=axes.transAxes, **text, bbox={"fc": "white", "ec": "#cccccc"})
    return figure


__all__ = ["BINS", "draw_histograms", "histogram"]
