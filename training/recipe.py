"""Recipes: a YAML file of `TrainingArguments` fields and a script's own, any of which the command line may override."""

import sys
from collections.abc import Sequence
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..data.files.bounded import read_bounded_text
from .recipe_options import (
    build_parser,
    collect_type_errors,
    merge_dotted,
    normalize_options,
    read_yaml,
    split_dotted,
    unknown_keys,
)


def shipped_recipes() -> dict[str, Path]:
    """Return the paths of the recipes of the package by name, sorted."""
    folder = Path(str(files("wenlan.training_scripts"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_recipe(name: str) -> Path:
    """Return the path of a recipe: a file, or the name of a shipped one such as "brivl_tiny".

    Raises:
        FileNotFoundError: for neither; the message lists the shipped ones.
    """
    shipped = shipped_recipes()
    path = Path(name) if Path(name).is_file() else shipped.get(name)
    if path is None:
        raise FileNotFoundError(f"No recipe {name!r}: give a YAML file or one of {', '.join(shipped)}.")
    return path


def read_recipe(name: str) -> dict[str, Any]:
    """Return the fields of a recipe, a file or a shipped one.

    Raises:
        FileNotFoundError: for an unknown recipe.
        ValueError: it is no mapping in YAML.
    """
    path = find_recipe(name)
    try:
        values = read_yaml(read_bounded_text(path))
    except ValueError as error:
        raise ValueError(f"{path} is {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} is no recipe, it holds no fields.")
    return values


def describe_recipe(path: Path) -> tuple[str, str]:
    """Return the command that runs a recipe and a sentence on what it is: the first two lines of its comment."""
    command, description, *_ = [line.removeprefix("#").strip() for line in path.read_text("utf-8").splitlines()]
    return command, f"{description.partition('. ')[0].rstrip('.')}."


def parse_recipe(dataclasses: Sequence[type], argv: Sequence[str] | None = None) -> tuple[Any, ...]:
    """Return one instance of each dataclass, from `RECIPE [--field value ...] [--field.key value ...]`.

    With `--help` among the words it prints the fields, the recipe's values as their defaults, and exits.

    Raises:
        FileNotFoundError: for an unknown recipe.
        ValueError: for unknown keys and options, each with the nearest known one, and wrong values; all at once.
    """
    words = normalize_options(sys.argv[1:] if argv is None else argv)
    recipe = words.pop(0) if words and not words[0].startswith("-") else None
    parser = build_parser(dataclasses)
    if not {"-h", "--help"}.isdisjoint(words):
        parser.set_defaults(**read_recipe(recipe) if recipe else {})
        parser.print_help()
        raise SystemExit(0)
    if recipe is None:
        raise ValueError(f"Give a recipe first: a YAML file or one of {', '.join(shipped_recipes())}.")
    values = read_recipe(recipe)
    known = {action.dest for action in parser._actions}
    problems = unknown_keys(f"Unknown keys in {recipe}", values, known)
    words, dotted = split_dotted(words)
    problems += merge_dotted(values, dotted, dataclasses)
    parser.set_defaults(**{name: value for name, value in values.items() if name in known})
    collect_type_errors(parser, problems)
    namespace, rest = parser.parse_known_args([recipe, *words])
    options = [word.partition("=")[0] for word in rest if word.startswith("--")]
    problems += unknown_keys("Unknown options", options or rest, parser._option_string_actions)
    found = []
    for dataclass in dataclasses if not problems else ():
        try:
            found.append(dataclass(**{one.name: getattr(namespace, one.name) for one in fields(dataclass) if one.init}))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError(" ".join(problems))
    return tuple(found)


def given_fields(argv: Sequence[str] | None = None) -> set[str]:
    """Return the names of the fields that a recipe, or an option of its command line, gives."""
    recipe, *words = normalize_options(sys.argv[1:] if argv is None else argv)
    options = (word.removeprefix("--").partition("=")[0] for word in words if word.startswith("--"))
    return {*read_recipe(recipe), *options}


__all__ = ["describe_recipe", "find_recipe", "given_fields", "parse_recipe", "read_recipe", "shipped_recipes"]
