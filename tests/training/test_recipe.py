import re
from dataclasses import dataclass, field

import pytest
from wenlan.training.recipe import find_recipe, parse_recipe


@dataclass
class Arguments:
    learning_rate: float = 0.1
    name: str = "a"
    nested: dict = field(default_factory=dict)


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("learning_rate: 5e-4\nnested: {a: {b: 1}}\n", "utf-8")
    return str(path)


def test_recipe_values_replace_the_defaults(recipe):
    (arguments,) = parse_recipe([Arguments], [recipe])
    assert arguments == Arguments(learning_rate=5e-4, nested={"a": {"b": 1}})


def test_command_line_overrides_the_recipe(recipe):
    (arguments,) = parse_recipe([Arguments], [recipe, "--learning_rate", "0.2", "--name", "b"])
    assert arguments == Arguments(learning_rate=0.2, name="b", nested={"a": {"b": 1}})


def test_all_unknown_keys_are_named_with_the_nearest_known_ones(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("learning_rat: 1\nxyz: 2\n", "utf-8")
    with pytest.raises(ValueError, match=r"learning_rat \(did you mean learning_rate\?\), xyz"):
        parse_recipe([Arguments], [str(path)])


def test_unknown_recipe_lists_the_shipped_ones():
    names = ["brivl_1.0", "brivl_2.0", "brivl_2.0_fsdp", "brivl_nmi", "brivl_small", "brivl_tiny", "detector_tiny"]
    names += ["detector_vg"]
    with pytest.raises(FileNotFoundError, match=re.escape(", ".join(names))):
        find_recipe("brivl_tny")


def test_shipped_recipe_is_found_by_name():
    assert find_recipe("brivl_tiny").name == "brivl_tiny.yaml"


def test_misspelt_option_is_an_error_and_not_an_abbreviation(recipe):
    with pytest.raises(ValueError, match="learning_rat"):
        parse_recipe([Arguments], [recipe, "--learning_rat", "3"])
