"""Configuration files of detectron2 and its descendants as plain dictionaries; nothing in them is ever run."""

import ast
from collections.abc import Mapping
from pathlib import Path

import yaml

from ....data.files.bounded import read_bounded

MAX_BYTES = 1_000_000
MAX_VALUES = 20_000
MAX_BASES = 8


class _PlainLoader(yaml.SafeLoader):
    """Loader of the Python tags of plain values, which `cfg.dump()` writes; all others are refused."""


def _plain_value(loader: _PlainLoader, tag: str, node: yaml.Node) -> object:
    if isinstance(node, yaml.SequenceNode) and tag in ("tuple", "list"):
        return loader.construct_sequence(node, deep=True)
    if isinstance(node, yaml.ScalarNode) and tag in ("str", "unicode"):
        return node.value
    raise yaml.constructor.ConstructorError(
        None, None, f"!!python/{tag} could run code and is not read: write its value instead", node.start_mark
    )


_PlainLoader.add_multi_constructor("tag:yaml.org,2002:python/", _plain_value)


def read_detectron2_yaml(path: Path, above: tuple[Path, ...] = ()) -> dict[str, object]:
    """Return the sections of a configuration, names in capitals, over those of its `_BASE_` files.

    Values such as "(1.0, 2.0)" become lists, as they do in detectron2. `above`: the files of which this one is a base.

    Raises:
        FileNotFoundError: for no such file, or no such base.
        ValueError: for a file that is no configuration, asks to run code, or is too large.
    """
    if not path.exists():
        wanted = f", the _BASE_ of {above[-1]}" if above else ""
        raise FileNotFoundError(
            f"No such configuration file: {path}{wanted}. A whole configuration, as cfg.dump() writes, needs no other."
        )
    if len(above) > MAX_BASES:
        raise ValueError(f"{path} is no configuration of a detector: it is its own _BASE_.")
    content = read_bounded(path, max_bytes=MAX_BYTES)
    try:
        sections = _plain(yaml.load(content, Loader=_PlainLoader), budget=[MAX_VALUES])
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not isinstance(sections, dict):
        raise ValueError(f"{path} is no configuration of a detector: it holds no sections.")
    bases = sections.pop("_BASE_", [])
    merged: dict[str, object] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        merge(merged, read_detectron2_yaml(path.parent / str(base), (*above, path)))
    return merge(merged, sections)


def _plain(value: object, *, budget: list[int]) -> object:
    """Return names in capitals, tuples as lists and texts of tuples as lists; `budget` ends what refers to itself."""
    budget[0] -= 1
    if budget[0] < 0:
        raise ValueError(f"more than {MAX_VALUES:,} values")
    if isinstance(value, Mapping):
        return {str(name).upper(): _plain(item, budget=budget) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, budget=budget) for item in value]
    if isinstance(value, str) and value.strip()[:1] in ("(", "["):
        try:
            return _plain(ast.literal_eval(value.strip()), budget=budget)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return value
    return value


def merge(target: dict[str, object], sections: Mapping[str, object]) -> dict[str, object]:
    """Return `target`, changed to hold the values of `sections`, those of nested sections one by one."""
    for name, value in sections.items():
        below = target.get(name)
        if isinstance(value, Mapping) and isinstance(below, dict):
            merge(below, value)
        else:
            target[name] = value
    return target


__all__ = ["merge", "read_detectron2_yaml"]
