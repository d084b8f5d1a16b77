"""Common options of the commands that make the figures of the paper, their folder, and its metrics."""

import csv
import io
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from ..data.files.atomic import atomic_file
from ..data.files.json_files import write_json
from ..data.files.lock import output_lock
from .recipe_options import option
from .run import METRICS
from .script_options import JSON_HELP, only_json, parse_options

CONFIG = "config.json"


@dataclass
class FigureArguments:
    """Options of every figure."""

    output_dir: str = option("runs/figure", "for images, data and metrics")
    seed: int = option(0, "of all that is drawn", low=0, high=2**32 - 1)
    device: str | None = option(None, "such as cuda; by default a GPU if there is one")
    json: bool = option(False, JSON_HELP)


Figure = TypeVar("Figure", bound=FigureArguments)


def run_figure(
    dataclass: type[Figure], run: Callable[[Figure], Mapping[str, object]], argv: Sequence[str] | None, *, command: str
) -> Path:
    """Make a figure with the options of `parse_options`; return its `output_dir`. Ctrl-C says where the parts are.

    Raises:
        SystemExit: with 130 after Ctrl-C.
        ValueError: options or data are bad.
    """
    options = parse_options(dataclass, argv, command=command)
    try:
        with only_json(options.json) as metrics:
            metrics |= run(options)
    except KeyboardInterrupt as error:
        print(f"Stopped; what was made so far is in {options.output_dir}.", file=sys.stderr)
        raise SystemExit(130) from error
    return Path(options.output_dir)


@contextmanager
def figure_folder(options: FigureArguments) -> Iterator[tuple[Path, dict[str, object]]]:
    """Yield the folder of a figure and its metrics, to be filled; `metrics.json` is written at the end.

    What a run left there that was stopped is written over.

    Raises:
        OSError: the folder cannot be written into.
        ValueError: it holds the figure of another run, or another process writes there.
    """
    folder, started = Path(options.output_dir), time.monotonic()
    if (folder / METRICS).exists():
        raise ValueError(f"{folder} holds the figure of another run: give another --output_dir, or remove it.")
    with output_lock(folder):
        config = asdict(options)
        write_json(folder / CONFIG, config)
        metrics: dict[str, object] = {"version": version("wenlan"), "seed": options.seed, "comparable": False}
        yield folder, metrics
        metrics["wall_seconds"] = round(time.monotonic() - started, 1)
        write_json(folder / METRICS, metrics)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table, whole or not at all."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    with atomic_file(path) as unfinished:
        unfinished.write_text(text.getvalue(), "utf-8")


__all__ = ["CONFIG", "FigureArguments", "figure_folder", "run_figure", "write_csv"]
