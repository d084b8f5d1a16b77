"""Recall against latency of two-stage retrieval, a point for each number of re-ranked candidates."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_quality_latency(
    labels: Sequence[str], latency: Sequence[float], lines: Mapping[str, Sequence[float]], *, title: str = ""
) -> "Figure":
    """Return a figure of matplotlib; the first and the last point are the pure models.

    Args:
        labels: of the points.
        latency: of each, in milliseconds.
        lines: name -> percent of each; the first one is drawn bold and bears the labels.
        title: above the axes.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for number, (name, percent) in enumerate(lines.items()):
        style: dict[str, Any] = (
            {"linewidth": 2.2, "marker": "o"} if number == 0 else {"linewidth": 1.2, "linestyle": "--"}
        )
        axes.plot(latency, percent, color=f"C{number}", label=name, **style)
    first = next(iter(lines.values()))
    for at, (label, x, y) in enumerate(zip(labels, latency, first, strict=True)):
        is_end = at in (0, len(labels) - 1)
        axes.annotate(
            label,
            (x, y),
            (0, -14),
            textcoords="offset points",
            ha="center",
            weight="bold" if is_end else "normal",
            size=9,
        )
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds a query (median)")
    axes.set_ylabel("percent of the queries")
    axes.set_ylim(-8, 104)
    axes.margins(x=0.08)
    axes.grid(alpha=0.3)
    axes.set_title(title, size=10)
    axes.legend(loc="lower right", fontsize=9)
    return figure


__all__ = ["draw_quality_latency"]
