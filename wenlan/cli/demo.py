"""`wenlan quickstart` and `wenlan demo-mlmm`: BriVL and MLMM trained, evaluated and shown."""

from pathlib import Path
from typing import Annotated

import typer


def quickstart(
    output_dir: Annotated[Path, typer.Option(help="Gets all; a stopped run resumes there.")] = Path("runs/quickstart"),
    recipe: Annotated[str, typer.Option(help="Recipe file or name.")] = "brivl_tiny",
    max_steps: Annotated[int | None, typer.Option(min=1, help="Fewer steps than the recipe: a smoke run.")] = None,
    cached_views: Annotated[int | None, typer.Option(min=0, help="Fewer views of each image: a smoke run.")] = None,
) -> None:
    """Train a small BriVL on the embedded emoji data, evaluate it, use it, and write a report with images."""
    from ..demos.brivl import run_quickstart

    overrides = {"max_steps": max_steps, "cached_views": cached_views}
    run_quickstart(output_dir, recipe, {name: value for name, value in overrides.items() if value is not None})


def demo_mlmm(
    output_dir: Annotated[Path, typer.Option(help="Gets everything; a stopped run resumes there.")] = Path(
        "runs/demo_mlmm"
    ),
    scenes: Annotated[str, typer.Option(help="Size of EmojiScenes: tests, cpu, gpu, or a number.")] = "cpu",
    detector: Annotated[str | None, typer.Option(help="Folder of a trained detector, instead of training it.")] = None,
) -> None:
    """Train a small MLMM end to end: detector, regions, pre-training; then retrieval, questions, attention."""
    from ..data.emoji_scenes.dataset import parse_size
    from ..demos.mlmm import run_demo_mlmm

    run_demo_mlmm(output_dir, scenes=parse_size(scenes), detector=detector)


__all__ = ["demo_mlmm", "quickstart"]
