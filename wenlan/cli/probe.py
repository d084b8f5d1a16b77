"""The command `wenlan probe`: what the features of image towers are worth to a linear classifier and to neighbours."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

METRICS, ROWS, CURVES = "metrics.json", "probe.csv", "few_shot.png"


def probe(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Folders or hub ids of BriVLs, and backbones of timm: timm:NAME with the weights that timm has, "
            "timm:NAME=FILE with yours, timm:NAME:random without."
        ),
    ],
    train: Annotated[
        str, typer.Option(help="Folder with a folder of images for each class; or emoji7, four styles of it.")
    ],
    test: Annotated[
        str | None,
        typer.Option(help="Folder of the same classes to evaluate on; none with emoji7, whose unseen style it is."),
    ] = None,
    label: Annotated[Literal["group", "concept"], typer.Option(help="Of emoji7: 8 groups, or each concept.")] = "group",
    layer: Annotated[
        list[str] | None,
        typer.Option(
            help="Of a BriVL: embeddings, pooled (before the projection) or backbone; repeat it for several. "
            "Default: the first two."
        ),
    ] = None,
    random_tower: Annotated[bool, typer.Option(help="Also each tower with random weights, as a control.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of draws, validation part, permuted labels, random weights.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 32,
    device: Annotated[str | None, typer.Option(help="Such as cuda:1; a GPU if there is one.")] = None,
    output: Annotated[Path | None, typer.Option(help=f"Folder for {METRICS}, {ROWS} and {CURVES}.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help=f"Print what is in {METRICS} to stdout and nothing else.")
    ] = False,
) -> None:
    """Print linear probe, nearest neighbours and few-shot accuracy of frozen image towers, beside chance."""
    from ..data.files.lock import output_lock
    from ..evaluation.probe.report import format_table
    from ..evaluation.probe.run import run_probe
    from ..training.script_options import only_json

    with output_lock(output) if output is not None else nullcontext(), only_json(as_json) as metrics:
        metrics |= run_probe(
            models,
            train,
            test,
            label=label,
            layers=layer or ("embeddings", "pooled"),
            random_tower=random_tower,
            seed=seed,
            batch_size=batch_size,
            device=device,
            progress=True,
        )
        typer.echo(format_table(metrics))
        if output is not None:
            typer.echo(f"All metrics: {output / METRICS}, rows: {output / ROWS}{_write(metrics, output)}")


def _write(metrics: dict[str, Any], output: Path) -> str:
    """Write the files; return where the curves are, or why there are none."""
    from importlib.util import find_spec

    from ..analysis.plots.fonts import font_files
    from ..data.files.atomic import atomic_file
    from ..data.files.json_files import write_json
    from ..evaluation.probe.report import draw_curves, format_csv

    write_json(output / METRICS, metrics)
    with atomic_file(output / ROWS) as unfinished:
        unfinished.write_text(format_csv(metrics), "utf-8")
    if find_spec("matplotlib") is None:
        return " (no curves: pip install 'wenlan[demo]')"
    with atomic_file(output / CURVES) as unfinished:
        draw_curves(metrics, font_files()).savefig(unfinished, format="png", dpi=120)
    return f", curves: {output / CURVES}"


__all__ = ["probe"]
