"""Ctrl-C as a message that says how to resume."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def resume_hint(output: str | Path, command: Sequence[str] | None = None) -> Iterator[None]:
    """Turn Ctrl-C into a message with the command that resumes, and exit code 130.

    Args:
        output: where the finished parts are.
        command: its words; by default those of this process, of the command `wenlan`.

    Raises:
        SystemExit: after Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        words = shlex.join(command or ["wenlan", *sys.argv[1:]])
        print(f"Stopped; the finished parts are in {output}. To resume: {words}", file=sys.stderr)
        raise SystemExit(130) from error


__all__ = ["resume_hint"]
