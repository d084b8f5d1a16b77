"""The `wenlan` command. Heavy packages load inside the commands, so that `wenlan --help` is quick."""

from collections.abc import Callable
from typing import Annotated

import typer

from .. import __version__
from .convert import convert_app, export_app
from .data import data_app
from .demo import demo_mlmm, quickstart
from .errors import ShortErrors, print_safely
from .evaluate import evaluate
from .predict import answer, draw_regions, embed, zero_shot
from .probe import probe
from .recipes import recipes_app
from .regions import extract_regions, import_regions
from .retrieval.index import index_app
from .retrieval.search import search
from .scripts import add_scripts
from .threads import set_thread_defaults
from .translate import translate_captions

app = typer.Typer(
    cls=ShortErrors,
    help="BriVL and MLMM: search and label images with sentences, ask about them; train on your own data.",
    epilog="--output_dir: the folder of a training run, with its checkpoints. --output: the one file or folder of "
    "results that any other command writes. Fields of recipes are spelt with _, as in their YAML, all other options "
    "with -; every command also understands the other spelling.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"token_normalize_func": lambda name: name.replace("_", "-")},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"wenlan {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")] = False,
) -> None:
    """Prepare what all commands share; the options are read where they act."""
    set_thread_defaults()
    print_safely()


def _add(panel: str, *commands: Callable[..., None]) -> None:
    for command in commands:
        app.command(rich_help_panel=panel)(command)


_add("Demo", quickstart, demo_mlmm)
add_scripts(app, "Train")
app.add_typer(recipes_app, name="recipes", rich_help_panel="Train")
_add("Evaluate", evaluate, probe)
_add("Predict", zero_shot, embed, answer, draw_regions, search)
app.add_typer(index_app, name="index", rich_help_panel="Predict")
app.add_typer(data_app, name="data", rich_help_panel="Data")
_add("Data", extract_regions, import_regions, translate_captions)
app.add_typer(convert_app, name="convert", rich_help_panel="Convert")
app.add_typer(export_app, name="export", rich_help_panel="Convert")
add_scripts(app, "Figures")
add_scripts(app, "Reproduce")

__all__ = ["app", "main"]
