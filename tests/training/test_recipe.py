import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
from wenlan.training.recipe import describe_recipe, find_recipe, parse_recipe, shipped_recipes

from wenlan import BriVLConfig


@dataclass
class Arguments:
    """How it is trained."""

    learning_rate: float = field(default=0.1, metadata={"help": "of the optimizer"})
    name: str = "a"
    nested: dict = field(default_factory=dict)


@dataclass
class ModelArguments:
    """What is trained."""

    model_config: Annotated[dict, BriVLConfig] = field(default_factory=dict, metadata={"help": "of the model"})
    kind: Literal["small", "large"] = "small"
    tied: bool = True


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
    names = ["brivl_1.0", "brivl_2.0", "brivl_2.0_fsdp", "brivl_finetune", "brivl_late", "brivl_nmi", "brivl_small"]
    names += ["brivl_small_scratch"]
    names += ["brivl_tiny", "brivl_tiny_scratch", "detector_tiny", "detector_vg"]
    with pytest.raises(FileNotFoundError, match=re.escape(", ".join(names))):
        find_recipe("brivl_tny")


def test_shipped_recipe_is_found_by_name():
    assert find_recipe("brivl_tiny").name == "brivl_tiny.yaml"


def test_misspelt_option_is_an_error_and_not_an_abbreviation(recipe):
    with pytest.raises(ValueError, match="learning_rat"):
        parse_recipe([Arguments], [recipe, "--learning_rat", "3"])


def test_dotted_options_reach_into_dictionaries_and_read_yaml(recipe):
    options = ["--nested.a.c", "[1, 2]", "--nested.d=true", "--nested.e", "null", "--nested.f", "2e-3", "--name", "b"]
    (arguments,) = parse_recipe([Arguments], [recipe, *options])
    assert arguments.nested == {"a": {"b": 1, "c": [1, 2]}, "d": True, "e": None, "f": 0.002}
    assert arguments.name == "b"


def test_dotted_option_makes_the_dictionaries_that_the_recipe_has_not(recipe):
    options = ["--model-config.vision-config.image_size", "128", "--model_config.queue_size", "512"]
    _, model = parse_recipe([Arguments, ModelArguments], [recipe, *options])
    assert model.model_config == {"vision_config": {"image_size": 128}, "queue_size": 512}


def test_whole_dictionary_is_given_as_yaml(recipe):
    assert parse_recipe([Arguments], [recipe, "--nested", "{x: 1}"])[0].nested == {"x": 1}


def test_option_is_read_with_hyphens_too(recipe):
    assert parse_recipe([Arguments], [recipe, "--learning-rate=-0.5"])[0].learning_rate == -0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model_config.queue_sise", "1"], r"model_config: queue_sise \(did you mean queue_size\?\)"),
        (
            ["--model_config.vision_config.image_sise", "1"],
            r"model_config.vision_config: image_sise \(did you mean image_size\?\)",
        ),
        (
            ["--model_config.text_config.encoder_config.hiden_size", "1"],
            r"encoder_config: hiden_size \(did you mean hidden_size\?\)",
        ),
        (["--modelconfig.queue_size", "1"], r"modelconfig \(did you mean model_config\?\)"),
        (["--learning_rate.x", "1"], "learning_rate"),
        (["--nested.a.b.c", "1"], r"--nested.a.b.c: b is 1 in the recipe and has no keys"),
        (["--nested.a"], "--nested.a has no value"),
        (["--nested.a", "[1,"], "--nested.a is not valid YAML"),
        (["--kind", "huge"], "kind is 'huge'; give small, large"),
        (["--learning_rate", "fast"], "learning_rate is 'fast'; give a number"),
        (["stray"], "stray"),
    ],
)
def test_mistakes_in_options_are_named(recipe, options, message):
    with pytest.raises(ValueError, match=message):
        parse_recipe([Arguments, ModelArguments], [recipe, *options])


def test_all_mistakes_are_named_at_once(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("learning_rat: 1\nmodel_config: {momentun: 0.9}\n", "utf-8")
    with pytest.raises(ValueError, match="learning_rat") as error:
        parse_recipe([Arguments, ModelArguments], [str(path), "--nme", "b", "--learning_rate", "x", "--kind", "y"])
    for part in ("did you mean learning_rate", "did you mean momentum", "did you mean --name", "'x'", "'y'"):
        assert part in str(error.value)


def test_help_lists_the_fields_in_groups_with_the_defaults_of_the_recipe(recipe, capsys):
    with pytest.raises(SystemExit, match="0"):
        parse_recipe([ModelArguments, Arguments], [recipe, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "Arguments): --model_config YAML of the model (default: {})" in shown
    assert shown.index("--model_config") < shown.index("--learning_rate")
    assert "of the optimizer (default: 0.0005)" in shown
    assert "--no_tied" not in shown


@pytest.mark.parametrize(("text", "message"), [("a: [1", "not valid YAML"), ("- 1", "holds no fields")])
def test_file_that_is_no_recipe_is_refused_by_name(tmp_path, text, message):
    (tmp_path / "bad.yaml").write_text(text, "utf-8")
    with pytest.raises(ValueError, match=rf"bad\.yaml is .*{message}"):
        parse_recipe([Arguments], [str(tmp_path / "bad.yaml")])


def test_command_without_a_recipe_is_told_to_give_one():
    with pytest.raises(ValueError, match="Give a recipe first: a YAML file or one of"):
        parse_recipe([Arguments], ["--learning_rate", "3"])


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipe_opens_with_its_command_and_a_sentence(name):
    command, description = describe_recipe(find_recipe(name))
    assert name in command.split()
    assert command.startswith(("wenlan ", "torchrun "))
    assert len(description) > 30
