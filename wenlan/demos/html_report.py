"""The report of a run: a page with metrics, a curve and images that any browser opens."""

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..data.files.atomic import atomic_file
from .language_report import language_table, worst_phrases

STYLE = """
body { font: 16px/1.5 system-ui, "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif; max-width: 1000px;
       margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .3rem .8rem; border-bottom: 1px solid #ddd }
td, th { font-size: 14px; vertical-align: top } td:first-child { white-space: nowrap }
td + td, th + th { text-align: right } img { max-width: 100% }
pre { background: #f5f5f5; padding: 1rem }
"""
KINDS = {"zero_shot_prompt": "8 groups by one prompt", "zero_shot_prototype": "8 groups by mean training name"}


def metrics_table(results: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Return rows of (what, candidates, metrics beside chance) for the results of `evaluate_emoji7`."""
    rows = []
    for name, metrics in results.items():
        if "/" not in name:  # the results of `evaluate_language`
            continue
        split, kind = name.split("/")
        directions = (
            (("i2t_", "image → text"), ("t2i_", "text → image")) if kind == "retrieval" else (("", KINDS[kind]),)
        )
        for prefix, label in directions:
            keys = [key.removeprefix(f"{prefix}chance_") for key in metrics if key.startswith(f"{prefix}chance_")]
            shown = [
                f"{key} {metrics[prefix + key]:.1f} (chance {metrics[f'{prefix}chance_{key}']:.1f})" for key in keys
            ]
            rows.append([f"{split} ({metrics['style']}), {label}", str(metrics["candidates"]), "; ".join(shown)])
    return rows


def draw_loss_curve(log_history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw the training loss over the steps into a PNG file."""
    from matplotlib.figure import Figure

    points = [(entry["step"], entry["loss"]) for entry in log_history if "loss" in entry]
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(*zip(*points, strict=True))
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("InfoNCE, both directions")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    with atomic_file(path) as unfinished:
        figure.savefig(unfinished, dpi=120)


def write_report(
    folder: Path,
    *,
    summary: str,
    results: Mapping[str, Mapping[str, Any]],
    grids: Mapping[str, Image.Image],
    commands: str,
) -> Path:
    """Write `report.html`, and the grids beside it as PNG; return the page.

    Args:
        folder: exists, and may hold `loss.png`.
        summary, commands: a paragraph of plain text, and what to do next, as shell lines.
        results: of `evaluate_emoji7`, and under "language" of `evaluate_language`.
        grids: image by file name without suffix.
    """
    for name, image in grids.items():
        with atomic_file(folder / f"{name}.png") as unfinished:
            image.save(unfinished)
    language = results["language"]
    about = (
        f"The style {language['style']}: {language['candidates']} images; held concepts, which no training row holds, "
        f"among {results['test_held/retrieval']['candidates']}."
    )
    worst = "".join(f"<li>{html.escape(line)}</li>" for line in worst_phrases(language))
    images = "".join(f'<p><img src="{name}.png" alt="{name}"></p>' for name in grids)
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>wenlan quickstart</title><style>{STYLE}</style>'
        f"<h1>wenlan quickstart</h1><p>{html.escape(summary)}</p>"
        f"<h2>Metrics</h2><p>In percent, beside chance. No training image has the styles fluentflat and fluent3d.</p>"
        f"{_table([['what', 'candidates', 'result'], *metrics_table(results)])}"
        f"<h2>Languages</h2><p>{html.escape(about)}</p>{_table(language_table(language))}"
        f"<p>The phrases whose first right image comes last:</p><ul>{worst}</ul>"
        f'<h2>Training</h2><p><img src="loss.png" alt="training loss"></p><h2>Images</h2>{images}'
        f"<h2>Next</h2><pre>{html.escape(commands)}</pre></html>\n"
    )
    path = folder / "report.html"
    with atomic_file(path) as unfinished:
        unfinished.write_text(page, "utf-8")
    return path


def _table(rows: Sequence[Iterable[str]]) -> str:
    """Return rows as a table in HTML; the first holds the headings."""
    lines = []
    for number, row in enumerate(rows):
        tag = "td" if number else "th"
        lines.append("<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>")
    return f"<table>{''.join(lines)}</table>"


__all__ = ["draw_loss_curve", "metrics_table", "write_report"]
