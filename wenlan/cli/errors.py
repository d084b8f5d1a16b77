"""Errors of the `wenlan` command: one line for a user's mistake, and how to resume after Ctrl-C."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from typer.core import TyperGroup


class ShortErrors(TyperGroup):
    """Turns a user's mistake in any command into one line and exit code 1; anything else keeps its traceback."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]  # typer gives its own Context
        """Run the command that was given; with --debug, mistakes keep their traceback too."""
        from huggingface_hub.errors import StrictDataclassError  # a wrong value in a configuration

        try:
            return super().invoke(ctx)
        except (ValueError, OSError, ImportError, StrictDataclassError) as error:
            if ctx.params["debug"]:
                raise
            typer.secho(f"Error: {error}", fg="red", err=True)
            raise typer.Exit(1) from error


@contextmanager
def resume_hint(output: Path) -> Iterator[None]:
    """Turn Ctrl-C into a message and exit code 130."""
    try:
        yield
    except KeyboardInterrupt as error:
        command = shlex.join(["wenlan", *sys.argv[1:]])
        typer.echo(f"Stopped; the complete shards are in {output}. To resume: {command}", err=True)
        raise typer.Exit(130) from error


__all__ = ["ShortErrors", "resume_hint"]
