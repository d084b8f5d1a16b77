"""The `wenlan export` commands: towers for other runtimes."""

from pathlib import Path
from typing import Annotated

import typer

from .short_errors import short_errors

export_app = typer.Typer(help="Write the towers of a BriVL for other runtimes.", no_args_is_help=True)

ModelFolder = Annotated[str, typer.Argument(help="Folder or hub id of a BriVL model.")]
OutputFolder = Annotated[Path, typer.Argument(help="Folder for the ONNX files and the processor.")]


@export_app.command()
def onnx(
    model: ModelFolder,
    output: OutputFolder,
    boxes: Annotated[bool, typer.Option("--boxes", help="The image tower reads detector boxes, not the grid.")] = False,
) -> None:
    """Writes image_tower.onnx and text_tower.onnx, checked against PyTorch."""
    with short_errors():
        from .training_scripts.export_onnx import export_onnx

        typer.echo(export_onnx(model, output, boxes=boxes))


@export_app.command()
def int8(
    model: ModelFolder,
    output: OutputFolder,
    sentences: Annotated[
        Path | None, typer.Option(help="Text file, one sentence a line, to measure on; else emoji7's names.")
    ] = None,
) -> None:
    """Writes text_tower.int8.onnx and the cosine between its embeddings and the float32 ones."""
    with short_errors():
        from .training_scripts.quantize_text import quantize_text_tower

        lines = None
        if sentences:
            lines = [line for line in sentences.read_text("utf-8-sig").splitlines() if line.strip()]
        typer.echo(quantize_text_tower(model, output, sentences=lines))


__all__ = ["export_app"]
