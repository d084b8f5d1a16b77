"""The runs behind a table of the paper: options, runs that are not done twice, and the files of the table."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path

import yaml

from ..analysis.plots.fonts import font_files
from ..data.emoji_scenes.export import MANIFEST as SCENES_MANIFEST
from ..data.files.atomic import atomic_file
from ..data.files.json_files import write_json
from ..data.files.manifest import MANIFEST, differences
from ..evaluation.tables.paper import Setting, paper_reference
from ..evaluation.tables.table import ResultTable
from .recipe import find_recipe, parse_recipe
from .recipe_options import normalize_options
from .run import METRICS


@dataclass(frozen=True)
class TableOptions:
    """Options of a table.

    Attributes:
        recipes: one for each test set.
        test_sets: their names, as many; empty: as the data tell.
        output_dir: gets the table, and a folder for each run.
        resume: keep finished runs and resume the others.
        comparable: data and weights are the paper's.
        settings: of table 3.
        others: options that are handed on to each run.
    """

    recipes: list[str]
    test_sets: list[str]
    output_dir: Path
    resume: bool
    comparable: bool
    settings: list[Setting]
    others: list[str]

    def folder(self, recipe: str) -> Path:
        """Return the folder of a recipe's runs: the output folder, or one below it where there are several."""
        return self.output_dir if len(self.recipes) == 1 else self.output_dir / Path(recipe).stem


def parse_table_options(
    argv: Sequence[str] | None,
    dataclasses: Sequence[type],
    *,
    command: str,
    recipe: str,
    settings: Sequence[Setting] = (),
    reserved: Sequence[str] = (),
) -> TableOptions:
    """Return the options from `[RECIPE ...] [--option value ...]`; those that are not the table's are handed on.

    With `--help` it prints both kinds and exits.

    Args:
        argv: None: the words of the command line.
        dataclasses: of the recipes.
        command: its name, such as "table3".
        recipe: the one to take where none is given.
        settings: that may be chosen.
        reserved: options that the command sets itself.

    Raises:
        FileNotFoundError: an unknown recipe.
        ValueError: reserved options, two recipes with one name, names that are not as many as the recipes, or more
            than one process.
    """
    argv = normalize_options(sys.argv[1:] if argv is None else argv)
    recipes = list(takewhile(lambda word: not word.startswith("-"), argv))
    usage = "%(prog)s [RECIPE ...] [options]"
    parser = argparse.ArgumentParser(f"wenlan {command}", usage=usage, allow_abbrev=False, add_help=False)
    parser.add_argument("--output_dir", default=f"runs/{command}", help="gets the table and a folder for each run")
    parser.add_argument("--resume", action="store_true", help="keep what is done and resume the rest")
    parser.add_argument("--test_sets", nargs="+", default=[], help="names of the recipes' test sets, e.g. Multi30K")
    parser.add_argument("--comparable", action="store_true", help="you say that data and weights are the paper's")
    if settings:
        parser.add_argument("--settings", nargs="+", choices=settings, default=list(settings), help="all by default")
    if not {"-h", "--help"}.isdisjoint(argv):
        parser.print_help()
        print("\nOther options are handed on to the run of each recipe:\n")
        parse_recipe(dataclasses, [*(recipes or [recipe])[:1], "--help"])
    found, others = parser.parse_known_args(argv[len(recipes) :])
    recipes = recipes or [recipe]
    given = {word.partition("=")[0] for word in others}
    problems = [f"{name} is set by {command} itself" for name in reserved if name in given]
    names = [Path(find_recipe(one)).stem for one in recipes]
    if len(set(names)) < len(names):
        problems.append(f"two recipes have one name ({', '.join(names)}), as their folders would")
    if found.test_sets and len(set(found.test_sets)) != len(recipes):
        problems.append(f"{len(set(found.test_sets))} different test_sets for {len(recipes)} recipes")
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        problems.append("it runs in one process; train with torchrun into the folders, then give --resume")
    if problems:
        raise ValueError(f"wenlan {command} cannot begin: {'; '.join(problems)}.")
    chosen = [one for one in settings if one in found.settings] if settings else []
    return TableOptions(
        recipes, found.test_sets, Path(found.output_dir), found.resume, found.comparable, chosen, others
    )


def is_finished(folder: Path, options: TableOptions) -> bool:
    """Return True if a run has its metrics and is to be kept.

    Raises:
        ValueError: it has, and `--resume` was not given.
    """
    if not (folder / METRICS).exists():
        return False
    if not options.resume:
        raise ValueError(f"{folder} holds a finished run: give --resume to keep it, or another --output_dir.")
    return True


def run_once(folder: Path, recipe: str, options: TableOptions, main: Callable, *own: str) -> dict:
    """Return the metrics of the run in a folder; `main` makes it if need be, from recipe and options.

    A finished run that another command made is taken as it is. `own` are its options beside those that are handed on.

    Raises:
        ValueError: a run of another recipe or with other options is there.
    """
    made_of = {"recipe": yaml.safe_load(find_recipe(recipe).read_text("utf-8")), "options": options.others}
    made_of, manifest = json.loads(json.dumps(made_of, default=str)), folder / MANIFEST
    if not is_finished(folder, options):
        main([recipe, *options.others, *own, "--output_dir", str(folder), *["--resume"] * options.resume])
        write_json(manifest, made_of)
    elif not manifest.exists():
        print(f"{folder} was made by another command and is taken as it is.")
    elif found := list(differences(json.loads(manifest.read_bytes()), made_of)):
        raise ValueError(
            f"{folder} was made otherwise: {', '.join(found)}. Give the same recipe and options to keep it, or another "
            "--output_dir."
        )
    else:
        print(f"{folder} is done already.")
    return json.loads((folder / METRICS).read_text("utf-8"))


def name_test_sets(options: TableOptions, folders: Sequence[Path | None]) -> list[str]:
    """Return the names of the test sets: as given, "EmojiScenes" where its files are, or the recipe's name.

    The folders, where known, hold the captions or questions of each recipe's test.
    """
    if options.test_sets:
        return options.test_sets
    stems = [Path(recipe).stem for recipe in options.recipes]
    pairs = zip(stems, folders, strict=True)
    names = ["EmojiScenes" if folder and (folder / SCENES_MANIFEST).exists() else stem for stem, folder in pairs]
    return names if len(set(names)) == len(names) else stems


def write_table(
    table: ResultTable, number: int, output_dir: Path, facts: Mapping[str, object], *, comparable: bool
) -> dict[str, object]:
    """Write `tableN.md`, `.csv`, `.png` (with matplotlib) and `metrics.json` with the facts, and print the table.

    Returns:
        What is in `metrics.json`.
    """
    name = output_dir / f"table{number}"
    for suffix, text in ((".md", table.to_markdown()), (".csv", table.to_csv())):
        with atomic_file(name.with_suffix(suffix)) as unfinished:
            unfinished.write_text(text, "utf-8")
    if find_spec("matplotlib"):
        with atomic_file(name.with_suffix(".png")) as unfinished:
            table.draw(font_files()).savefig(unfinished, format="png", dpi=120, bbox_inches="tight", pad_inches=0.2)
    else:
        print("The table is not drawn: pip install 'wenlan[demo]' and run again with --resume.")
    own = {"table": number, "comparable": comparable, "mark": table.mark, "package": f"wenlan {version('wenlan')}"}
    metrics = {**own, **facts, "paper_reference": paper_reference(number)}
    write_json(output_dir / METRICS, metrics)
    print(f"\n{table.to_markdown()}\nThe table: {name}.md, .csv and .png. All metrics: {output_dir / METRICS}")
    return metrics


__all__ = ["TableOptions", "is_finished", "name_test_sets", "parse_table_options", "run_once", "write_table"]
