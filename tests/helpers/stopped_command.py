"""A `wenlan` command as a process of its own, stopped with a signal and started again."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from helpers.paths import ENVIRONMENT


class StoppedCommand:
    """Starts a command, and stops it when so many shards are there.

    Args:
        arguments: of `wenlan`.
        find_shards: returns the shards that are there.
    """

    def __init__(self, arguments: Sequence[str | Path], find_shards: Callable[[], list[Path]]) -> None:
        self.command = [Path(sys.executable).parent / "wenlan", *arguments]
        self.find_shards = find_shards

    def start(self, log: Path) -> subprocess.Popen:
        """Starts it; what it prints goes to a file."""
        with log.open("w") as stream:
            # pytest may run where interrupts are ignored, which a child would inherit
            restore = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
            return subprocess.Popen(self.command, stdout=stream, stderr=stream, env=ENVIRONMENT, preexec_fn=restore)

    def shards(self) -> dict[str, bytes]:
        """Returns the shards that are there by name."""
        return {path.name: path.read_bytes() for path in self.find_shards()}

    def stop(self, log: Path, number: int, more: int) -> int:
        """Starts it and sends a signal when there are so many more shards; returns the exit code."""
        process, wanted = self.start(log), len(self.find_shards()) + more
        while process.poll() is None and len(self.find_shards()) < wanted:
            time.sleep(0.001)
        process.send_signal(number)
        return process.wait(60)


__all__ = ["StoppedCommand"]
