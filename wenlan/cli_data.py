"""The commands of `wenlan data`: look at image-text pairs before a model is trained on them."""

from pathlib import Path
from typing import Annotated

import typer

from .cli_clean import clean
from .short_errors import short_errors

data_app = typer.Typer(help="Look at image-text pairs before training.", no_args_is_help=True)


@data_app.command()
def report(source: Annotated[Path, typer.Argument(help="A file or folder of pairs.")]) -> None:
    """Prints how many pairs can be read, and what is wrong with the others."""
    from .data import read_pairs
    from .processing import decode_image

    with short_errors():
        typer.echo(read_pairs(source, max_bad_fraction=1.0, check_image=decode_image)[1])


data_app.command()(clean)

__all__ = ["data_app"]
