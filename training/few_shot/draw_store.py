"""Predictions of each row of a table by draw, written as they are made, so that a run resumes where it stopped."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...data.files.atomic import atomic_file

PATTERN = "*.jsonl"


class DrawStore:
    """The predictions of one row: a JSON line a draw.

    Args:
        folder: of all rows.
        name: of this one.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / PATTERN.replace("*", re.sub(r"[^\w+]+", "-", name).strip("-"))
        self._found: dict[tuple[int, int], dict] = {}
        if self.path.exists():
            self._read()

    def __contains__(self, place: tuple[int, int]) -> bool:
        return place in self._found

    def add(self, split: int, draw: int, predictions: np.ndarray, chosen: Mapping[str, float] | None = None) -> None:
        """Write the predictions (texts,) of a draw, and what was chosen for it."""
        row = {"split": split, "draw": draw, "predictions": predictions.tolist()}
        self._found[split, draw] = {**row, **(chosen or {})}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self._found[split, draw]) + "\n")

    def predictions(self, places: Sequence[tuple[int, int]]) -> np.ndarray:
        """Return (draws, texts) of these (split, draw)."""
        return np.array([self._found[place]["predictions"] for place in places])

    def chosen(self, name: str, places: Sequence[tuple[int, int]]) -> list[float]:
        """Return the values of this name that were chosen for these (split, draw)."""
        return [self._found[place][name] for place in places]

    def _read(self) -> None:
        """Read what is whole; a kill may have cut the last line, which is then taken away."""
        lines = self.path.read_text("utf-8").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]
        for line in whole:
            row = json.loads(line)
            self._found[row["split"], row["draw"]] = row
        if len(whole) < len(lines):
            with atomic_file(self.path) as unfinished:
                unfinished.write_text("".join(whole), "utf-8")


__all__ = ["PATTERN", "DrawStore"]
