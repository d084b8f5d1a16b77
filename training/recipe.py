"""Recipes: a YAML file of `TrainingArguments` fields and a script's own, any of which the command line may override."""

import difflib
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import yaml
from transformers import HfArgumentParser


def find_recipe(name: str) -> Path:
    """Return the path of a recipe: a file, or the name of a shipped one such as "brivl_tiny".

    Raises:
        FileNotFoundError: for neither; the message lists the shipped ones.
    """
    shipped = Path(str(files("wenlan.training_scripts"))) / "recipes"
    for path in (Path(name), shipped / f"{name}.yaml"):
        if path.is_file():
            return path
    names = ", ".join(sorted(path.stem for path in shipped.glob("*.yaml")))
    raise FileNotFoundError(f"No recipe {name!r}: give a YAML file or one of {names}.")


def parse_recipe(dataclasses: Sequence[type], argv: Sequence[str] | None = None) -> tuple:
    """Return one instance of each dataclass, from `RECIPE [--field value ...]`.

    Raises:
        FileNotFoundError: for an unknown recipe.
        ValueError: for keys in the recipe that no dataclass has; all are named with the nearest known ones.
    """
    parser = HfArgumentParser(dataclasses, allow_abbrev=False)  # a misspelt option must not pass for another
    parser.add_argument("recipe", help="a YAML file, or the name of a shipped recipe")
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0].startswith("-"):
        parser.parse_args(["--help"] if argv[:1] in (["-h"], ["--help"]) else [])  # prints what is missing and exits
    path = find_recipe(argv[0])
    values = yaml.safe_load(path.read_text("utf-8")) or {}
    known = {action.dest for action in parser._actions}
    problems = []
    for key in values.keys() - known:
        nearest = difflib.get_close_matches(key, known, n=1)
        problems.append(key + (f" (did you mean {nearest[0]}?)" if nearest else ""))
    if problems:
        raise ValueError(f"Unknown keys in {path}: {', '.join(sorted(problems))}.")
    parser.set_defaults(**values)
    return parser.parse_args_into_dataclasses(args=argv)[: len(dataclasses)]


__all__ = ["find_recipe", "parse_recipe"]
