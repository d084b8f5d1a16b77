"""The options of a script that takes a model and no recipe: one dataclass, whose field `model` is the first word."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from .option_values import fit_arguments
from .recipe import read_recipe
from .recipe_options import (
    build_parser,
    collect_type_errors,
    join_problems,
    names_in_options,
    normalize_options,
    unknown_keys,
)
from .resume_hint import resume_hint

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    class _ScriptOptions(DataclassInstance, Protocol):
        output_dir: str
        resume: bool
        json: bool


JSON_HELP = "print what is in metrics.json to stdout and nothing else; progress goes to stderr"
Options = TypeVar("Options", bound="DataclassInstance")
ScriptOptions = TypeVar("ScriptOptions", bound="_ScriptOptions")


def parse_options(dataclass: type[Options], argv: Sequence[str] | None = None, *, command: str) -> Options:
    """Return the options from `MODEL [--field value ...]`. With `--help` it prints them and exits.

    `--config FILE` gives fields in YAML or JSON, such as the `config.json` of a run; the command line overrides them.

    Args:
        dataclass: of the options, each with a default; a field `model` may be given as the first word.
        argv: the words after the command, those of this process by default.
        command: how it is called.

    Raises:
        FileNotFoundError: no such file of `--config`.
        ValueError: unknown options or fields, each with the nearest known one, and wrong values; all at once.
    """
    words = normalize_options(sys.argv[1:] if argv is None else argv)
    if words and not words[0].startswith("-"):
        words.insert(0, "--model")
    config = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    config.add_argument("--config", metavar="FILE")
    chosen, words = config.parse_known_args(words)
    if chosen.config and not Path(chosen.config).is_file():
        raise FileNotFoundError(f"There is no file {chosen.config}; give the config.json of a run, or a YAML file.")
    values = read_recipe(chosen.config) if chosen.config else {}
    parser = build_parser((dataclass,), command, first="MODEL")
    known = {action.dest for action in parser._actions}
    parser.add_argument(
        "--config", metavar="FILE", help="options in YAML or JSON, as in config.json of a run; yours come first"
    )
    parser.set_defaults(**{name: value for name, value in values.items() if name in known})
    if not {"-h", "--help"}.isdisjoint(words):
        parser.print_help()
        raise SystemExit(0)
    problems = unknown_keys(f"Unknown fields in {chosen.config}", values, known)
    collect_type_errors(parser, problems)
    namespace, rest = parser.parse_known_args(words)
    given = [word.partition("=")[0] for word in rest if word.startswith("--")]
    problems += unknown_keys("Unknown options", given or rest, parser._option_string_actions)
    fitted, wrong = fit_arguments(dataclass, vars(namespace), names_in_options(words) | (values.keys() & known))
    told = {problem.partition(" ")[0] for problem in problems}
    problems += [one for one in wrong if one.partition(" ")[0] not in told]
    if problems:
        raise ValueError(join_problems(problems))
    return dataclass(**fitted)


@contextmanager
def only_json(wanted: bool) -> Iterator[dict[str, object]]:
    """Yield a place for metrics, and print them at the end, if they are wanted as JSON; they alone are on stdout then.

    What is printed before goes to stderr.
    """
    metrics: dict[str, object] = {}
    with redirect_stdout(sys.stderr) if wanted else nullcontext():
        yield metrics
    if wanted:
        print(json.dumps(metrics, indent=1))  # ASCII, which no terminal's encoding breaks


def run_script(
    dataclass: type[ScriptOptions],
    run: Callable[[ScriptOptions], Mapping[str, object]],
    argv: Sequence[str] | None,
    *,
    command: str,
) -> Path:
    """Run a script with the options of `parse_options`; return its `output_dir`. Ctrl-C says how to resume.

    Raises:
        SystemExit: with 130 after Ctrl-C.
        ValueError: options or data are bad.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    options = parse_options(dataclass, words, command=command)
    resume = [*command.split(), *words, *["--resume"] * (not options.resume)]
    with resume_hint(options.output_dir, resume), only_json(options.json) as metrics:
        metrics |= run(options)
    return Path(options.output_dir)


__all__ = ["JSON_HELP", "only_json", "parse_options", "run_script"]
