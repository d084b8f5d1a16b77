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
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for number, (name, percent) in enumerate(lines.items()):
        style: dict[str, Any] = (
            {"linewidth": 2.2, "marker": "o"} if number == 0 else {"linewidth": 1.2, "linestyle": "--"}
        )
        axes.plot(latency, percent, color=f"C{number}", label=name, **style)
    first = next(iter(lines.values()))
    ends = {0: (0, 9), len(labels) - 1: (0, -20)}
    for at, (label, x, y) in enumerate(zip(labels, latency, first, strict=True)):
        look: dict[str, Any] = {"weight": "bold", "ha": "center"} if at in ends else {"weight": "normal", "ha": "left"}
        axes.annotate(label, (x, y), ends.get(at, (6, -12)), textcoords="offset points", size=9, **look)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("milliseconds a query (median)")
    axes.set_ylabel("percent of the queries")
    axes.set_ylim(-8, 104)
    axes.margins(x=0.08)
    axes.grid(alpha=0.3)
    axes.set_title(title, size=10)
    axes.legend(loc="lower right", fontsize=9)
    return figure


__all__ = ["draw_quality_latency"]
