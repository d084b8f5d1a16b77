"""The findings of a probe as a table, as CSV, and as a figure of the few-shot curves."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..tables.table import register_fonts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("model", "weights", "layer", "dimension", "probe", "parameter", "accuracy", "low", "high", "std", "n")


def iterate_rows(metrics: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of `COLUMNS` of what `run_probe` returns.

    The parameter is C, k, or images a class. Of the few-shot curve and of permuted labels the accuracy is the mean of n
    draws, else n is the number of images.
    """
    for name, by_weights in metrics["towers"].items():
        for weights, tower in by_weights.items():
            for layer, found in tower["layers"].items():
                head, n = (name, weights, layer, found["dimension"]), metrics["n_test"]
                c, drawn = found["linear"]["C"], [("few-shot", point["shots"], point) for point in found["few_shot"]]
                single = [("linear", c, found["linear"]), *(("knn", k, one) for k, one in found["knn"].items())]
                for probe, parameter, one in single:
                    yield (*head, probe, parameter, one["accuracy"], *one["interval"], None, n)
                for probe, parameter, one in [("permuted labels", c, found["permuted_labels"]), *drawn]:
                    yield (*head, probe, parameter, one["mean"], *one["interval"], one["std"], one["n"])


def format_csv(metrics: Mapping[str, Any]) -> str:
    """Return the rows as CSV, with a heading."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(iterate_rows(metrics))
    return text.getvalue()


def format_table(metrics: Mapping[str, Any]) -> str:
    """Return a table for a terminal: a line a tower and layer, chance and notes below."""
    heading = ("linear (95 %)", "C", "permuted labels", "k-NN 1 / 5 / 20", "few-shot 1 / 2 / 4 / 8 / 16")
    lines = [("", *heading)]
    for name, by_weights in metrics["towers"].items():
        for weights, tower in by_weights.items():
            for layer, found in tower["layers"].items():
                low, high = found["linear"]["interval"]
                lines.append(
                    (
                        f"{name}, {weights}, {layer}",
                        f"{found['linear']['accuracy']:.1f} ({low:.1f}-{high:.1f})",
                        f"{found['linear']['C']:g}",
                        f"{found['permuted_labels']['mean']:.1f}",
                        " / ".join(f"{one['accuracy']:.1f}" for one in found["knn"].values()),
                        " / ".join(f"{point['mean']:.1f}" for point in found["few_shot"]),
                    )
                )
    widths = [max(map(len, column)) + 2 for column in zip(*lines, strict=True)]
    rows = ["".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    about = (
        f"Percent of {metrics['n_test']:,} images of {metrics['classes']} classes, trained on {metrics['n_train']:,}; "
        f"chance {metrics['chance']:.1f}, the most common class {metrics['majority']:.1f}."
    )
    return "\n".join([*rows, about, *metrics["notes"]])


def draw_curves(metrics: Mapping[str, Any], fonts: Sequence[Path] = ()) -> "Figure":
    """Return a figure of matplotlib: accuracy by images a class, a line a tower and layer, with intervals.

    Random towers are dashed, chance is grey.

    Args:
        fonts: files to take letters from, the first that has one; by default the fonts of matplotlib.
    """
    from matplotlib.figure import Figure

    family = register_fonts(fonts)
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    shots = set[int]()
    colour = 0
    for name, by_weights in metrics["towers"].items():
        for index, (weights, tower) in enumerate(by_weights.items()):
            for offset, (layer, found) in enumerate(tower["layers"].items()):
                points = found["few_shot"]
                shots |= {point["shots"] for point in points}
                errors = np.array([[p["mean"] - p["interval"][0], p["interval"][1] - p["mean"]] for p in points]).T
                style: dict[str, Any] = {"linestyle": "--" if index else "-", "marker": "o", "capsize": 3}
                label = f"{name}, {weights}, {layer}"
                means = [point["mean"] for point in points]
                axes.errorbar(
                    [point["shots"] for point in points],
                    means,
                    errors,
                    label=label,
                    color=f"C{(colour + offset) % 10}",
                    **style,
                )
        colour += len(next(iter(by_weights.values()))["layers"])
    axes.axhline(metrics["chance"], color="grey", linewidth=1, label="chance")
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted(shots), [str(number) for number in sorted(shots)])
    axes.set_xlabel("training images a class")
    axes.set_ylabel(f"accuracy in percent, {metrics['classes']} classes")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(prop={"family": family, "size": 9})
    return figure


__all__ = ["COLUMNS", "draw_curves", "format_csv", "format_table", "iterate_rows"]
