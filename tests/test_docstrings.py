"""Docstrings: their examples give what they show, their first lines say what comes out."""

import ast
import doctest
from importlib import import_module

import pytest
from helpers.sources import MODULES, package_of, relative, tree_of

EXAMPLES = [".".join((*package_of(path), path.stem)) for path in MODULES if ">>> " in path.read_text("utf-8")]
VAGUE = ("What", "Whether", "Which", "How", "When", "Where", "Lets", "Returns", "As")


def test_examples_are_found():
    assert "wenlan.modeling_brivl.modeling_brivl" in EXAMPLES


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_of_the_docstrings_run(name):
    module = import_module(name)
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0


def test_first_lines_say_what_comes_out_or_is_done():
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    vague = [
        f"{relative(path)}: {text.splitlines()[0]}"
        for path in MODULES
        for node in ast.walk(tree_of(path))
        if isinstance(node, documented) and (text := ast.get_docstring(node)) and text.split()[0] in VAGUE
    ]
    assert vague == []
