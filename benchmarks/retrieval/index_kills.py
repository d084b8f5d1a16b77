"""Kills `wenlan index` with SIGKILL at random moments: 10 times while it builds, 10 while it adds, 5 while it compacts.

    python benchmarks/retrieval/index_kills.py

After each kill the index must open, hold every row that a reader saw before the kill, each once, and find them all.
Model and images are tiny; every process is forked from one that has imported all.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from helpers.index_kills import IndexKills

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # ROOT first: tests/wenlan must not pass for the package

SMALL = ["--batch-size", "2", "--shard-size", "2", "--num-proc", "1"]
INDEX, LOG = Path("index"), Path("log.txt")


def describe_kills(kills: "IndexKills", command: list[str], wanted: int) -> str:
    """Kill until so many kills met a running process, or twice as many were tried; return how many did."""
    tries = met = 0
    while met < wanted and tries < 2 * wanted:
        met += kills.kill(command, log=LOG, shards=tries % 5)
        tries += 1
    return f"{command[1]}: {met} kills met a running process, of {tries}"


def main() -> None:
    """Print how many kills there were, and what is left."""
    from helpers.brivl.tiny_folder import save_tiny_folder
    from helpers.index_folders import check_index, write_images
    from helpers.index_kills import IndexKills
    from wenlan.retrieval import BuildOptions, build_index, remove_rows

    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        save_tiny_folder(Path("model"))
        write_images(Path("photos"), 100)
        write_images(Path("more"), 200, start=100)
        kills = IndexKills(INDEX.absolute())
        print(describe_kills(kills, ["index", "build", "photos", "--model", "model", "--output", "index", *SMALL], 10))
        build_index(Path("photos"), INDEX, options=BuildOptions(num_proc=1))
        print(describe_kills(kills, ["index", "add", "index", "more", *SMALL], 10))
        build_index(Path("more"), INDEX, options=BuildOptions(num_proc=1))
        remove_rows(INDEX, where="path like 'photos/00%'")
        expected = check_index(INDEX)
        print(describe_kills(kills, ["index", "compact", "index", "--max-rows", "2"], 5))
        assert check_index(INDEX) == expected
        print(f"{len(expected)} rows of 290 after all of them")


if __name__ == "__main__":
    main()
