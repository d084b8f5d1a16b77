"""How the `wenlan` command shows a user's mistake."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def short_errors() -> Iterator[None]:
    """Turns a user's mistake into one line and exit code 1; anything else keeps its traceback."""
    from huggingface_hub.errors import StrictDataclassError  # a wrong value in a configuration

    try:
        yield
    except (ValueError, OSError, ImportError, StrictDataclassError) as error:
        typer.secho(f"Error: {error}", fg="red", err=True)
        raise typer.Exit(1) from error


__all__ = ["short_errors"]
