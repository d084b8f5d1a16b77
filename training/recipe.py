"""Recipes: a YAML file of `TrainingArguments` fields and a script's own, any of which the command line may override."""

import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError

from ..data.files.bounded import read_bounded
from .option_conflicts import find_overruled, set_needed
from .option_values import fit_arguments
from .recipe_options import (
    build_parser,
    collect_type_errors,
    join_problems,
    merge_dotted,
    names_in_options,
    normalize_options,
    read_yaml,
    split_dotted,
    unknown_keys,
)

MAX_RECIPE = 1_000_000  # bytes


def shipped_recipes() -> dict[str, Path]:
    """Return the paths of the recipes of the package by name, sorted."""
    folder = Path(str(files("wenlan.training_scripts"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_recipe(name: str) -> Path:
    """Return the path of a recipe: a file, or the name of a shipped one such as "brivl_tiny".

    Raises:
        FileNotFoundError: for neither; the message lists the shipped ones, unless a file was meant.
    """
    shipped = shipped_recipes()
    path = Path(name) if Path(name).is_file() else shipped.get(name)
    if path is None:
        if Path(name).suffix in (".yaml", ".yml"):
            raise FileNotFoundError(f"There is no recipe file {name}; `wenlan recipes list` shows the shipped ones.")
        raise FileNotFoundError(f"No recipe {name!r}: give a YAML file or {', '.join(shipped)}.")
    return path


def read_recipe(name: str) -> dict[str, Any]:
    """Return the fields of a recipe, a file or a shipped one.

    Raises:
        FileNotFoundError: for an unknown recipe.
        ValueError: it is no mapping in YAML.
    """
    path = find_recipe(name)
    try:
        values = read_yaml(read_bounded(path, max_bytes=MAX_RECIPE).decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8; save it as such.") from error
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f"{path} is {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} is no recipe, it holds no fields.")
    return values


def describe_recipe(path: Path) -> tuple[str, str]:
    """Return the command that runs a recipe and a sentence on what it is: the first two lines of its comment."""
    command, description, *_ = [line.removeprefix("#").strip() for line in path.read_text("utf-8").splitlines()]
    return command, f"{description.partition('. ')[0].rstrip('.')}."


def parse_recipe(
    dataclasses: Sequence[type], argv: Sequence[str] | None = None, *, command: str = "COMMAND"
) -> tuple[Any, ...]:
    """Return one instance of each dataclass, from `RECIPE [--field value ...] [--field.key value ...]`.

    With `--help` among the words it prints the fields, the recipe's values as their defaults, and exits.

    Args:
        dataclasses: of the options; what one needs or overrules it says as `NEEDS` and `OVERRULES`.
        argv: the words after the command, those of this process by default.
        command: how the command is called, for the help.

    Raises:
        FileNotFoundError: for an unknown recipe.
        ValueError: for unknown keys and options, each with the nearest known one, wrong values, and options without
            effect; all at once.
    """
    words = normalize_options(sys.argv[1:] if argv is None else argv)
    recipe = words.pop(0) if words and not words[0].startswith("-") else None
    parser = build_parser(dataclasses, command)
    if not {"-h", "--help"}.isdisjoint(words):
        parser.set_defaults(**read_recipe(recipe) if recipe else {})
        parser.print_help()
        raise SystemExit(0)
    if recipe is None:
        raise ValueError(f"Give a recipe first: a YAML file or one of {', '.join(shipped_recipes())}.")
    values = read_recipe(recipe)
    known = {action.dest for action in parser._actions}
    in_recipe, in_options = set(values), names_in_options(words)
    problems = unknown_keys(f"Unknown keys in {recipe}", values, known)
    words, dotted = split_dotted(words)
    problems += merge_dotted(values, dotted, dataclasses)
    parser.set_defaults(**{name: value for name, value in values.items() if name in known})
    collect_type_errors(parser, problems)
    namespace, rest = parser.parse_known_args([recipe, *words])
    options = [word.partition("=")[0] for word in rest if word.startswith("--")]
    problems += unknown_keys("Unknown options", options or rest, parser._option_string_actions)
    everything = vars(namespace)
    given, is_known = in_recipe | in_options, not problems
    problems += set_needed(dataclasses, everything, given)
    found = []
    for arguments in dataclasses:
        fitted, wrong = fit_arguments(arguments, everything, given)
        everything |= fitted
        told = {problem.partition(" ")[0] for problem in problems}
        problems += [one for one in wrong if one.partition(" ")[0] not in told]
        try:
            found += [arguments(**fitted)] if is_known and not wrong else []
        except (ValueError, TypeError, StrictDataclassError) as error:
            problems.append(str(error).strip().rpartition("Error: ")[2])  # of a strict dataclass, its reason
    if not problems:
        problems = find_overruled(dataclasses, everything, in_recipe, in_options)
    if problems:
        raise ValueError(join_problems(problems))
    return tuple(found)


def given_fields(argv: Sequence[str] | None = None) -> set[str]:
    """Return the names of the fields that a recipe, or an option of its command line, gives."""
    recipe, *words = normalize_options(sys.argv[1:] if argv is None else argv)
    return {*read_recipe(recipe), *names_in_options(words)}


__all__ = ["describe_recipe", "find_recipe", "given_fields", "parse_recipe", "read_recipe", "shipped_recipes"]
