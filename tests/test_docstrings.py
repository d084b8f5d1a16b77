"""The examples in the docstrings of the package give what they show."""

import doctest
from importlib import import_module

import pytest
from helpers.sources import MODULES, package_of

EXAMPLES = [".".join((*package_of(path), path.stem)) for path in MODULES if ">>> " in path.read_text("utf-8")]


def test_examples_are_found():
    assert "wenlan.modeling_brivl.modeling_brivl" in EXAMPLES


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_of_the_docstrings_run(name):
    module = import_module(name)
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0
