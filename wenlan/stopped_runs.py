"""What the `wenlan` command says when Ctrl-C stops a run that can go on."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer


@contextmanager
def told_how_to_go_on(output: Path) -> Iterator[None]:
    """Turns Ctrl-C into a message and exit code 130."""
    try:
        yield
    except KeyboardInterrupt as error:
        command = shlex.join(["wenlan", *sys.argv[1:]])
        typer.echo(f"Stopped; the complete shards are in {output}. To go on: {command}", err=True)
        raise typer.Exit(130) from error


__all__ = ["told_how_to_go_on"]
