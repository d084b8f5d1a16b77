"""An index that is changed by commands which are killed with SIGKILL at random moments."""

import os
import random
import signal
import time
from pathlib import Path

from helpers import forked
from helpers.index_folders import check_index, ids_of
from helpers.stopped_command import run


class IndexKills:
    """Kills commands of `wenlan index`, and checks the index after each kill.

    Args:
        folder: of the index.
        seed: of the moments.
    """

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.folder, self.random = folder, random.Random(seed)

    def kill(self, arguments: list[str | Path], *, log: Path, shards: int = 0) -> bool:
        """Starts a command and kills it a moment after it wrote so many more files; returns whether it was alive.

        Raises:
            AssertionError: the index does not open, a row that was acknowledged is lost, or one is there twice.
        """
        process = forked.start(run, [str(argument) for argument in arguments], log=log)
        wanted, seen = self._files() + shards, set[str]()
        while process.is_alive() and self._files() < wanted:
            time.sleep(0.001)
        deadline = time.monotonic() + self.random.random() * 0.05
        while process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.001)
        if (self.folder / "manifest.json").exists():
            seen = set(ids_of(self.folder)) if "compact" not in map(str, arguments) else set()
        was_alive = process.is_alive()
        if was_alive:
            os.kill(process.pid or 0, signal.SIGKILL)
        process.join(60)
        if (self.folder / "manifest.json").exists():
            found = check_index(self.folder)
            assert seen <= set(found), f"lost: {sorted(seen - set(found))}"
        return was_alive

    def _files(self) -> int:
        return len(list((self.folder / "shards").glob("*")))
