"""The source files of the package and what is read from them."""

import ast
from functools import cache
from pathlib import Path

from helpers.paths import ROOT

SUB_PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
# The links in evaluation/metrics make each metric a folder that the Hub can load alone: no modules of the package.
SOURCES = sorted(
    path
    for name in SUB_PACKAGES
    for pattern in ("*.py", "*.pyi")
    for path in (ROOT / name).rglob(pattern)
    if "metrics" not in path.relative_to(ROOT).parts
)
MODULES = [path for path in SOURCES if path.suffix == ".py"]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def package_of(path: Path) -> tuple[str, ...]:
    """Returns the parts of the package that holds a file: data/pairs/load.py is in ("wenlan", "data", "pairs")."""
    parts = path.relative_to(ROOT).parent.parts
    return parts if parts[0] == "wenlan" else ("wenlan", *parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))
