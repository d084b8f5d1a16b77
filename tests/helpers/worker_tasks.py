"""Workers of `run_tasks` that another process can import."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import torch


class NoWayBackError(LookupError):
    """An error that cannot be unpickled, since it needs two arguments."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


class Worker:
    """Does what a task says; `Worker` is its own opener.

    Args:
        folder: gets a file named by the process that opened it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / f"opened-{os.getpid()}").touch()

    def __call__(self, task: str | int) -> int:
        """Returns the square of a number; a word is an order."""
        match task:
            case "threads":
                return torch.get_num_threads()
            case "process":
                time.sleep(0.2)  # so that the others get some, too
                return os.getpid()
            case "value":
                raise ValueError("a bad value")
            case "lookup":
                raise NoWayBackError("one", "two")
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "die once":
                try:
                    (self.folder / "died").touch(exist_ok=False)
                except FileExistsError:
                    return os.getpid()
                os.kill(os.getpid(), signal.SIGKILL)
            case "beat":
                while True:
                    (self.folder / f"beat-{os.getpid()}").touch()
                    time.sleep(0.02)
        (self.folder / f"done-{task}").touch()
        return int(task) ** 2


def open_nothing() -> Callable[[object], object]:
    """Raises FileNotFoundError."""
    raise FileNotFoundError("There is no model.")


__all__ = ["NoWayBackError", "Worker", "open_nothing"]
