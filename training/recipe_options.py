"""The options of a recipe's command: a group for each dataclass, dotted ones for the keys of dictionary fields.

`--learning_rate 1e-4` replaces a field, `--model_config.queue_size 512` one key inside a dictionary; such values are
YAML. What keys a dictionary takes, its annotation says: `Annotated[dict, BriVLConfig]`.
"""

import argparse
import copy
import difflib
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, fields, is_dataclass
from types import UnionType
from typing import Annotated, Any, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from transformers import CONFIG_MAPPING, HfArgumentParser, PreTrainedConfig
from transformers.hf_argparser import DataClassType

from .option_values import Described, Limits

Value = TypeVar("Value")
MAX_VALUES = 10_000  # of a recipe
MAX_MESSAGE = 400  # characters


class _Loader(yaml.SafeLoader):
    """Reads 5e-4 as a number, as YAML 1.2 does and PyYAML does not, and refuses a key that comes twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """Return the mapping."""
        seen: set[object] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is there twice", key.start_mark)
            seen.add((key.tag, key.value) if isinstance(key, yaml.ScalarNode) else key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), [*"-+0123456789"]
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def read_yaml(text: str) -> Any:
    """Return what a YAML text says, without running anything in it.

    Raises:
        ValueError: it is no YAML, or more than a recipe can be; the message names the line.
    """
    try:
        value = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        place = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"not valid YAML{place}: {error.problem}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError(f"not valid YAML: {str(error).splitlines()[0]}") from error
    waiting, count = [value], 0
    while waiting:
        count += 1
        one = waiting.pop()
        if count > MAX_VALUES:
            raise ValueError(f"no recipe: it has more than {MAX_VALUES} values, or aliases that make as many")
        waiting += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
    return value


def option(default: Value, description: str, **limits: float) -> Value:
    """Return a dataclass field with a default, which may be a list or dictionary, and a description for `--help`.

    A number's `limits` are those of `Limits`: low, high, above, below, also.
    """
    metadata = {"help": Described(description, Limits(**limits) if limits else None)}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: copy.copy(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def build_parser(
    dataclasses: Sequence[type], command: str = "COMMAND", *, first: str = "RECIPE"
) -> argparse.ArgumentParser:
    """Return a parser with a group of options for each dataclass; its `error` raises ValueError.

    Args:
        dataclasses: of the options.
        command: how it is called.
        first: the word before the options, for the help; only a recipe is parsed as such.
    """
    keys = " [--FIELD.KEY VALUE ...]" if first == "RECIPE" else ""
    parser = _Parser(
        usage=f"{command} {first} [--FIELD VALUE ...]{keys}",
        allow_abbrev=False,  # a misspelt option must not pass for another
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    if first == "RECIPE":
        parser.add_argument("recipe", help="a YAML file, or the name of a shipped recipe: wenlan recipes list")
    for dataclass in dataclasses:
        group, hints = parser.add_argument_group(*_title(dataclass)), get_type_hints(dataclass)
        for action in HfArgumentParser(DataClassType(dataclass), add_help=False)._actions:
            action.option_strings = action.option_strings[:1]  # `normalize_options` knows the other spelling
            if action.nargs == 0:  # --no_X, listed as --X
                action.help = argparse.SUPPRESS
            if _holds_dict(hints[action.dest]):
                action.type, action.metavar = read_yaml, "YAML"
            group._add_action(action)
    return parser


def normalize_options(words: Iterable[str]) -> list[str]:
    """Return the words of a command line with "_" for "-" in the names of options."""

    def normalize(word: str) -> str:
        name, equals, value = word.partition("=")
        return f"--{name[2:].replace('-', '_')}{equals}{value}" if name.startswith("--") else word

    return [normalize(word) for word in words]


def split_dotted(words: Iterable[str]) -> tuple[list[str], dict[str, str | None]]:
    """Return the plain words of a command line, and the values of its dotted options by name; None: no value given."""
    plain, dotted, rest = [], {}, iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name.startswith("--") and "." in name:
            dotted[name[2:]] = value if equals else next(rest, None)
        else:
            plain.append(word)
    return plain, dotted


def merge_dotted(values: dict[str, Any], dotted: Mapping[str, str | None], dataclasses: Sequence[type]) -> list[str]:
    """Put dotted options, such as {"model_config.queue_size": "512"}, into a recipe's dictionaries, which change.

    Returns the problems, also of the keys in the recipe.
    """
    keys = _dictionary_fields(dataclasses)
    problems = unknown_keys("Unknown dictionaries in options", {name.partition(".")[0] for name in dotted}, keys)
    for name, text in dotted.items():
        *parents, key = name.split(".")
        place: Any = values if parents[0] in keys else {}
        for parent in parents:
            if place.get(parent) is None:
                place[parent] = {}
            place = place[parent]
            if not isinstance(place, dict):
                problems.append(f"--{name}: {parent} is {place!r} in the recipe and has no keys.")
                break
        else:
            try:
                place[key] = read_yaml(text or "")
            except ValueError as error:
                problems.append(f"--{name} is {error}.")
            if text is None:
                problems.append(f"--{name} has no value.")
    for name, known in keys.items():
        if known is not None:
            problems += _unknown_in(name, values.get(name), known)
    return problems


def names_in_options(words: Iterable[str]) -> set[str]:
    """Return the fields that the options of a command line set, those of dotted ones included."""
    return {word[2:].partition("=")[0].partition(".")[0] for word in words if word.startswith("--")}


def join_problems(problems: Sequence[str]) -> str:
    """Return the problems as one message, as many as it holds."""
    told = list(itertools.takewhile(lambda one: len(one) < MAX_MESSAGE, itertools.accumulate(problems, "{} {}".format)))
    kept = max(1, len(told))
    rest = f" And {len(problems) - kept} more." if kept < len(problems) else ""
    return " ".join(problems[:kept]) + rest


def unknown_keys(title: str, names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return one sentence with the names that are not known, each with the nearest known one; nothing if all are."""
    known, problems = sorted(known), []
    for name in sorted(set(names) - set(known)):
        nearest = difflib.get_close_matches(name, known, n=1)
        problems.append(name + (f" (did you mean {nearest[0]}?)" if nearest else ""))
    return [f"{title}: {', '.join(problems)}."] if problems else []


def refuse_unknown(name: str, values: Mapping[str, object], known: Iterable[str]) -> None:
    """Raise ValueError for keys of a recipe's dictionary that are not known, each with the nearest known one."""
    if problems := unknown_keys(f"Unknown keys in {name}", values, known):
        raise ValueError(problems[0])


def collect_type_errors(parser: argparse.ArgumentParser, problems: list[str]) -> None:
    """Let a parser put values of a wrong type into a list, in place of raising an error for the first one."""
    for action in parser._actions:
        if callable(action.type):
            action.type = _collecting(action, action.type, problems)


KINDS = {
    "int": "a whole number",
    "float": "a number",
    "string_to_bool": "true or false",
    "read_yaml": "keys with values, in YAML",
}


def _collecting(action: argparse.Action, convert: Callable[[str], Any], problems: list[str]) -> Callable[[str], Any]:
    choices = action.choices

    def call(text: str) -> Any:
        try:
            value = convert(text)
            if choices is None or value in choices:
                return value
            expected = ", ".join(map(str, choices))
        except (TypeError, ValueError, argparse.ArgumentTypeError):
            expected = KINDS.get(convert.__name__, f"a value of type {convert.__name__}")
        problems.append(f"{action.dest} is {text!r}; give {expected}.")
        return next(iter(choices)) if choices else None

    return call


def _title(dataclass: type) -> tuple[str, str | None]:
    """Return the title of a dataclass's group, "Model" for ModelArguments, and the first line of its docstring."""
    name = dataclass.__name__
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.removesuffix("Arguments"))
    package = dataclass.__module__.partition(".")[0]
    if package == __name__.partition(".")[0]:
        return words, (dataclass.__doc__ or "").partition("\n")[0]
    return f"{words} ({package}.{name})", None


def _holds_dict(hint: Any) -> bool:
    """Return True for dict, a list of dicts, or a union with one."""
    return dict in (hint, get_origin(hint)) or any(map(_holds_dict, get_args(hint)))


def _dictionary_fields(dataclasses: Sequence[type]) -> dict[str, type | None]:
    """Return the fields that are dictionaries, each with the class whose fields are its keys, where one is known."""
    found: dict[str, type | None] = {}
    for dataclass in dataclasses:
        for name, hint in get_type_hints(dataclass, include_extras=True).items():
            kind, *extra = get_args(hint) if get_origin(hint) is Annotated else (hint,)
            kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
            if any(dict in (one, get_origin(one)) for one in kinds):
                found[name] = extra[0] if extra else None
    return found


def _unknown_in(name: str, values: object, known: type) -> list[str]:
    """Return the problems of a dictionary's keys and, for a configuration, of those in the configurations inside."""
    if not isinstance(values, Mapping):
        return []
    names = {one.name for one in fields(known)} if is_dataclass(known) else {*get_type_hints(known)}
    problems = []
    if issubclass(known, PreTrainedConfig):
        names |= {"model_type", *known.attribute_map}
        for key, inner in known.sub_configs.items():
            if inner is PreTrainedConfig and isinstance(values.get(key), Mapping):  # of any model
                name_of_model = values[key].get("model_type", "bert")
                inner = CONFIG_MAPPING[name_of_model] if name_of_model in CONFIG_MAPPING else None  # noqa: SIM401  lazy
            if inner is not None:
                problems += _unknown_in(f"{name}.{key}", values.get(key), inner)
    return unknown_keys(f"Unknown keys in {name}", values, names) + problems


__all__ = [
    "build_parser",
    "collect_type_errors",
    "join_problems",
    "merge_dotted",
    "names_in_options",
    "normalize_options",
    "option",
    "read_yaml",
    "refuse_unknown",
    "split_dotted",
    "unknown_keys",
]
