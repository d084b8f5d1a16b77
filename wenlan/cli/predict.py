"""`wenlan answer`: questions about an image, answered by an MLMM."""

from pathlib import Path
from typing import Annotated

import typer

from .errors import cli_errors


def answer(
    model: Annotated[str, typer.Argument(help="Folder or hub id of an MLMM for visual question answering.")],
    image: Annotated[Path, typer.Argument(help="The image.")],
    question: Annotated[list[str], typer.Option(help="In any of the seven languages; may be given several times.")],
    top_k: Annotated[int, typer.Option(help="How many answers.")] = 3,
    detector: Annotated[
        str | None, typer.Option(help="Folder or hub id of the region detector, if the model's folder has none.")
    ] = None,
) -> None:
    """Print the best answers to a question about an image, each with its score."""
    with cli_errors():
        from transformers import pipeline

        pipe = pipeline("wenlan-vqa", model=model)
        if detector is not None:
            pipe.processor.detector = detector
        for text, answers in zip(question, pipe(image=image, question=question, top_k=top_k), strict=True):
            found = "  ".join(f"{one['answer']} {one['score']:.1%}" for one in answers)
            typer.echo(f"{text}  {found}")


__all__ = ["answer"]
