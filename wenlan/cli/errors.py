"""How the `wenlan` command shows a user's mistake, and how to resume after Ctrl-C."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer


@contextmanager
def cli_errors() -> Iterator[None]:
    """Turn a user's mistake into one line and exit code 1; anything else keeps its traceback."""
    from huggingface_hub.errors import StrictDataclassError  # a wrong value in a configuration

    try:
        yield
    except (ValueError, OSError, ImportError, StrictDataclassError) as error:
        typer.secho(f"Error: {error}", fg="red", err=True)
        raise typer.Exit(1) from error


@contextmanager
def resume_hint(output: Path) -> Iterator[None]:
    """Turn Ctrl-C into a message and exit code 130."""
    try:
        yield
    except KeyboardInterrupt as error:
        command = shlex.join(["wenlan", *sys.argv[1:]])
        typer.echo(f"Stopped; the complete shards are in {output}. To go on: {command}", err=True)
        raise typer.Exit(130) from error


__all__ = ["cli_errors", "resume_hint"]
