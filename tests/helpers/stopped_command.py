"""A `wenlan` command as a process of its own, stopped with a signal and started again."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

from helpers import forked


class StoppedCommand:
    """Starts a command, and stops it when so many shards are there.

    Args:
        arguments: of `wenlan`.
        find_shards: returns the shards that are there.
    """

    def __init__(self, arguments: Sequence[str | Path], find_shards: Callable[[], list[Path]]) -> None:
        self.arguments = [str(argument) for argument in arguments]
        self.find_shards = find_shards

    def start(self, log: Path) -> BaseProcess:
        """Starts it; what it prints goes to a file."""
        return forked.start(run, self.arguments, log=log)

    def finish(self, log: Path) -> int | None:
        """Runs it to its end; returns the exit code."""
        process = self.start(log)
        process.join(120)
        return process.exitcode

    def shards(self) -> dict[str, bytes]:
        """Returns the shards that are there by name."""
        return {path.name: path.read_bytes() for path in self.find_shards()}

    def stop(self, log: Path, number: int, more: int) -> int | None:
        """Starts it and sends a signal when there are so many more shards; returns the exit code."""
        process, wanted = self.start(log), len(self.find_shards()) + more
        while process.is_alive() and len(self.find_shards()) < wanted:
            time.sleep(0.001)
        if process.is_alive():
            os.kill(process.pid or 0, number)
        process.join(60)
        return process.exitcode


def run(arguments: list[str]) -> None:
    """Runs `wenlan` in this process."""
    from wenlan.cli.main import app

    sys.argv = ["wenlan", *arguments]
    app(arguments)


__all__ = ["StoppedCommand", "run"]
