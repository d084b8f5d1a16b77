"""Errors of the `wenlan` command: one line for a user's mistake."""

import io
import logging
import os
import sys

import typer
from typer.core import TyperGroup

from ..data.rows.printable import printable


class ShortErrors(TyperGroup):
    """Turns a user's mistake in any command into one line and exit code 1; anything else keeps its traceback."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]  # typer gives its own Context
        """Run the command that was given; with --debug, mistakes keep their traceback too."""
        from huggingface_hub.errors import StrictDataclassError  # a wrong value in a configuration

        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError:  # of `| head`: click ends without a word
            raise
        except (ValueError, OSError, ImportError, StrictDataclassError) as error:
            if ctx.params["debug"]:
                raise
            # What a check of a configuration raises is wrapped in a second message.
            cause = error.__cause__ if isinstance(error, StrictDataclassError) and error.__cause__ else error
            text = printable(f"Error: {cause}{_what_makes_it(error)}", keep_lines=True)
            typer.secho(text, fg="red", err=True)
            raise typer.Exit(1) from error


class _PrintableFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), keep_lines=True)


def print_safely() -> None:
    """Make logs and output show what a terminal cannot, or must not, as escapes."""
    if logging.lastResort is not None:  # prints warnings where no program has set up logging
        logging.lastResort.setFormatter(_PrintableFormatter())
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _what_makes_it(error: BaseException | None) -> str:
    """Return the command that writes the model folder which an error, or what it came from, is about; else ""."""
    from ..data.files.model_folder import MissingModelError

    while error is not None and not isinstance(error, MissingModelError):
        error = error.__cause__
    if error is None:
        return ""
    from ..training.recipe import describe_recipe, read_recipe, shipped_recipes

    made = {"runs/quickstart": "wenlan quickstart"}
    made |= {f"runs/demo_mlmm/{part}": "wenlan demo-mlmm" for part in ("detector", "mlmm", "vqa")}
    for name, path in shipped_recipes().items():
        made[str(read_recipe(name).get("output_dir"))] = describe_recipe(path)[0]
    command = made.get(os.path.relpath(error.name or "."))
    return f" Make it first: {command}" if command else ""


__all__ = ["ShortErrors", "print_safely"]
