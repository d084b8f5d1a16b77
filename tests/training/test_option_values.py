"""Values of options are checked before anything is loaded, all at once, with name, value and what is allowed."""

import json

import pytest
from kill_resume import RECIPE
from wenlan.training.recipe import parse_recipe, shipped_recipes
from wenlan.training_scripts import (
    finetune_retrieval,
    finetune_vqa,
    pretrain_brivl,
    pretrain_mlmm,
    train_region_detector,
    train_vqgan,
)

from wenlan import BriVLConfig, MLMMConfig, RegionDetectorConfig

SCRIPTS = {
    "brivl": (pretrain_brivl, {}),
    "mlmm": (pretrain_mlmm, {}),
    "detector": (train_region_detector, {}),
    "vqgan": (train_vqgan, {}),
    "retrieval": (finetune_retrieval, {"init_from": "runs/none"}),
    "vqa": (finetune_vqa, {"init_from": "runs/none"}),
}


TENS = (f"{two}: &{two} [{', '.join([f'*{one}'] * 10)}]" for one, two in zip("abcde", "bcdef", strict=True))
BOMB = "\n".join(["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]", *TENS])


@pytest.fixture
def parse(tmp_path):
    """Reads options of a script, on top of a recipe, which is written."""

    def read(script, *options, **fields):
        module, base = SCRIPTS[script]
        recipe = tmp_path / "my.yaml"
        recipe.write_text(json.dumps(base | {"output_dir": str(tmp_path / "out"), "use_cpu": True} | fields), "utf-8")
        return parse_recipe(module.ARGUMENTS, [str(recipe), *options])

    return read


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("max_steps", "0", "max_steps is 0; give a finite number from 1, or -1"),
        ("max_steps", "-2", "max_steps is -2"),
        ("max_steps", "viele", "max_steps is 'viele'; give a whole number"),
        ("max_steps", "1.5", "max_steps is '1.5'; give a whole number"),
        ("save_steps", "0", "save_steps is 0.0; give a finite number above 0"),
        ("logging_steps", "-1", "logging_steps is -1.0"),
        ("gradient_accumulation_steps", "0", "gradient_accumulation_steps is 0; give a finite number from 1"),
        ("per_device_train_batch_size", "0", "per_device_train_batch_size is 0"),
        ("per_device_eval_batch_size", "-4", "per_device_eval_batch_size is -4"),
        ("learning_rate", "nan", "learning_rate is nan; give a finite number above 0"),
        ("learning_rate", "0", "learning_rate is 0.0; give a finite number above 0"),
        ("learning_rate", "inf", "learning_rate is inf"),
        ("learning_rate", "-1", "learning_rate is -1.0"),
        ("weight_decay", "inf", "weight_decay is inf"),
        ("adam_epsilon", "0", "adam_epsilon is 0.0; give a finite number above 0"),
        ("adam_beta2", "1", "adam_beta2 is 1.0; give a finite number from 0 to less than 1"),
        ("max_grad_norm", "nan", "max_grad_norm is nan"),
        ("max_grad_norm", "-1", "max_grad_norm is -1.0"),
        ("warmup_steps", "-1", "warmup_steps is -1.0"),
        ("num_train_epochs", "0", "num_train_epochs is 0.0"),
        ("dataloader_num_workers", "-1", "dataloader_num_workers is -1; give a finite number from 0 to 128"),
        ("seed", "-1", "seed is -1; give a finite number from 0 to 4294967295"),
        ("seed", "99999999999", "seed is 99999999999"),
        ("bf16", "vielleicht", "bf16 is 'vielleicht'; give true or false"),
        ("max_bad_fraction", "nan", "max_bad_fraction is nan; give a finite number from 0 to 1"),
        ("max_bad_fraction", "-1", "max_bad_fraction is -1.0"),
        ("max_bad_fraction", "2", "max_bad_fraction is 2.0"),
        ("max_skipped_in_a_row", "-1", "max_skipped_in_a_row is -1"),
    ],
)
def test_value_that_cannot_be_is_refused_on_the_command_line_and_in_the_recipe(parse, option, value, message):
    with pytest.raises(ValueError, match="give") as error:
        parse("brivl", f"--{option}", value)
    assert message in str(error.value)
    with pytest.raises(ValueError, match=f"{option} is .*; give "):
        parse("brivl", **{option: value if value in ("nan", "inf", "viele", "vielleicht") else json.loads(value)})


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_checks_its_values(parse, script):
    options = [
        "--max_steps",
        "0",
        "--max_bad_fraction",
        "nan",
        "--max_skipped_in_a_row",
        "-1",
        "--learning_rate",
        "nan",
    ]
    with pytest.raises(ValueError, match="give") as error:
        parse(script, *options)
    for name in options[::2]:
        assert f"{name[2:]} is " in str(error.value)


@pytest.mark.parametrize(
    ("script", "options", "message"),
    [
        ("brivl", ["--cached_views", "-3"], "cached_views is -3; give a finite number from 0"),
        ("brivl", ["--lora_dropout", "1"], "lora_dropout is 1.0"),
        ("brivl", ["--model_config.temperature", "0"], "temperature must be positive, got 0"),
        ("brivl", ["--model_config.temperature", "nan"], "model_config.temperature is nan; give a finite number"),
        ("brivl", ["--model_config.temperature", ".inf"], "model_config.temperature is inf"),
        ("brivl", ["--model_config.momentum", "-1e-8"], "momentum must be in [0, 1], got -1e-08"),
        ("brivl", ["--model_config.queue_size", "1.5"], "model_config.queue_size is '1.5'; give a whole number"),
        ("brivl", ["--model_config.queue_size", "0"], "queue_size must be at least 1, got 0"),
        ("brivl", ["--model_config.vision_config.image_size", "1000000"], "image_size must be at least 1 and at most"),
        (
            "brivl",
            ["--model_config.text_config.hidden_dropout_prob", "viel"],
            "hidden_dropout_prob is 'viel'",
        ),
        ("brivl", ["--augmentation.hue", "blue"], "augmentation.hue is 'blue'; give a number"),
        ("brivl", ["--augmentation", "5"], "augmentation is '5'; give keys with values"),
        ("mlmm", ["--model_config.hidden_size", "10000000000000"], "hidden_size"),
        ("mlmm", ["--model_config.hidden_dropout_prob", "nan"], "model_config.hidden_dropout_prob is nan"),
        ("mlmm", ["--masked_fraction", "0"], "masked_fraction is 0.0; give a finite number above 0 to 1"),
        ("mlmm", ["--token_budget", "0"], "token_budget is 0"),
        ("detector", ["--model_config.roi_batch_size", "nan"], "model_config.roi_batch_size is 'nan'; give a whole"),
        ("detector", ["--model_config.fc_dim", "1000000000000"], "fc_dim"),
        ("detector", ["--variant", "none"], "none"),
        ("vqa", ["--head_lr_factor", "0"], "head_lr_factor is 0.0; give a finite number above 0"),
        ("retrieval", ["--test_folds", "0"], "test_folds is 0; give a finite number from 1"),
        ("retrieval", ["--scoring_batch_size", "0"], "scoring_batch_size is 0; give a finite number from 1"),
        ("retrieval", ["--retrieval_loss", "best"], "retrieval_loss is 'best'; give itm, margin"),
    ],
)
def test_value_of_a_script_that_cannot_be_is_refused(parse, script, options, message):
    with pytest.raises(ValueError, match=r"\S") as error:
        parse(script, *options)
    assert message in str(error.value)
    assert len(str(error.value)) <= 400


def test_whole_numbers_stand_for_numbers_and_text_of_numbers_is_read(parse):
    model_config = {"temperature": 1, "momentum": "1e-8", "queue_size": 64.0}
    model, data, *_, args = parse(
        "brivl", model_config=model_config, max_steps=2e1, learning_rate=1, max_bad_fraction=0
    )
    assert model.model_config == {"temperature": 1.0, "momentum": 1e-8, "queue_size": 64}
    assert (args.max_steps, args.learning_rate, data.max_bad_fraction) == (20, 1.0, 0.0)
    assert type(args.max_steps) is type(model.model_config["queue_size"]) is int


def test_one_language_is_a_list_of_one(parse):
    own, *_ = parse("retrieval", languages="zh")
    assert own.languages == ["zh"]


def test_all_values_are_told_at_once(parse):
    with pytest.raises(ValueError, match="seed") as error:
        parse("brivl", "--max_steps", "viele", "--seed", "-1", model_config={"momentum": "x"}, cached_views=-1)
    for name in ("max_steps", "seed", "model_config.momentum", "cached_views"):
        assert f"{name} is " in str(error.value)


def test_many_problems_are_counted_in_a_short_message(parse):
    names = ("seed", "max_steps", "save_steps", "weight_decay", "adam_epsilon", "max_grad_norm", "logging_steps")
    names += ("learning_rate", "adam_beta1", "adam_beta2", "warmup_steps")
    with pytest.raises(ValueError, match=r"And \d more") as error:
        parse("brivl", **dict.fromkeys(names, -9.0))
    assert len(str(error.value)) <= 420


@pytest.mark.parametrize("config", [BriVLConfig, MLMMConfig, RegionDetectorConfig])
def test_configurations_take_whole_numbers_and_refuse_what_is_none(config):
    assert config(initializer_range=1).initializer_range == 1
    with pytest.raises(Exception, match="initializer_range"):
        config(initializer_range=float("nan"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_the_trainers_need_is_set_or_refused(parse, script):
    *_, args = parse(script)
    assert not args.remove_unused_columns
    assert args.eval_do_concat_batches is (script != "detector")
    with pytest.raises(ValueError, match="remove_unused_columns is True; this command needs False: leave it out"):
        parse(script, remove_unused_columns=True)
    with pytest.raises(ValueError, match="enable_jit_checkpoint is True; this command needs False"):
        parse(script, "--enable_jit_checkpoint", "true")


@pytest.mark.parametrize(
    ("script", "options", "fields", "message"),
    [
        (
            "brivl",
            ["--num_train_epochs", "3"],
            {"max_steps": 9},
            r"num_train_epochs has no effect: max_steps \(9, in the",
        ),
        (
            "vqa",
            ["--num_train_epochs", "3", "--max_steps", "9"],
            {},
            r"max_steps \(9, on the command line\) overrules it",
        ),
        ("retrieval", [], {"max_steps": 9, "num_train_epochs": 2}, "num_train_epochs has no effect"),
        ("detector", ["--save_steps", "5"], {"save_strategy": "no"}, r"give --save_strategy steps"),
        ("brivl", ["--save_total_limit", "5"], {"save_strategy": "no"}, r"save_total_limit has no effect"),
        ("vqa", ["--eval_steps", "5"], {}, r"eval_strategy \(no, by default\) overrules it"),
        ("mlmm", ["--per_device_train_batch_size", "5"], {}, r"Leave per_device_train_batch_size out, or give --token"),
        ("brivl", ["--shuffle_buffer", "5"], {}, r"streaming \(False, by default\) overrules it"),
        ("brivl", ["--image_root", "x"], {}, r"data \(emoji7, by default\)"),
        ("brivl", ["--init_from", "x", "--model_config.momentum", "0.5"], {}, r"model_config has no effect: init_from"),
        ("brivl", ["--image_class_names", "true"], {"language": "cs"}, r"no effect: language \(cs"),
        ("detector", ["--scenes", "8"], {"data": "mine.json"}, r"scenes has no effect"),
        ("retrieval", ["--rank_margin", "0.3"], {}, r"give --retrieval_loss margin"),
        ("vqa", ["--max_answers", "9", "--min_answer_questions", "3"], {}, r"min_answer_questions has no effect"),
    ],
)
def test_option_without_effect_is_refused_with_what_wins(parse, script, options, fields, message):
    with pytest.raises(ValueError, match=message):
        parse(script, *options, **fields)


def test_command_line_may_overrule_the_recipe(parse):
    fields = {"num_train_epochs": 2, "save_steps": 5, "save_total_limit": 1, "model_config": {"momentum": 0.5}}
    *_, args = parse("brivl", "--max_steps", "9", "--save_strategy", "no", "--init_from", "x", **fields)
    assert (args.max_steps, args.save_strategy) == (9, "no")
    *_, args = parse("brivl", "--max_steps", "-1", "--num_train_epochs", "3", max_steps=9)
    assert args.num_train_epochs == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\n\tmax_steps: 2\n", r"my\.yaml is not valid YAML, line 2: "),
        (
            "seed: 1\nmax_steps: !!python/object/apply:os.system [ls]\n",
            r"not valid YAML, line 2: could not determine a",
        ),
        ("seed: 1\nmax_steps: 2\nseed: 3\n", r"line 3: 'seed' is there twice"),
        (BOMB, "aliases"),
        ("a: &a [*a]\n", "aliases|recursive"),
        ("a: " + "[" * 5000, "not valid YAML|Recursion"),
        ("seed: [1\n", r"not valid YAML, line 2"),
        ("# " + "x" * 1_100_000, "limit"),
    ],
)
def test_recipe_that_is_none_is_named_with_its_line(tmp_path, text, message):
    recipe = tmp_path / "my.yaml"
    recipe.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=message) as error:
        parse_recipe(pretrain_brivl.ARGUMENTS, [str(recipe)])
    assert len(str(error.value)) <= 400
    assert "\n" not in str(error.value)


def test_recipe_in_another_encoding_is_named_and_a_mark_of_utf8_is_read(tmp_path):
    recipe = tmp_path / "my.yaml"
    recipe.write_bytes("language: 中文".encode("gbk"))
    with pytest.raises(ValueError, match=r"my\.yaml is no text in UTF-8"):
        parse_recipe(pretrain_brivl.ARGUMENTS, [str(recipe)])
    recipe.write_bytes("language: ja".encode("utf-8-sig"))
    assert parse_recipe(pretrain_brivl.ARGUMENTS, [str(recipe), "--use_cpu"])[1].language == "ja"


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipe_has_no_option_without_effect(name, tmp_path):
    kinds = {"brivl": "brivl", "mlmm": "mlmm", "detector": "detector", "retrieval": "retrieval", "vqa": "vqa"}
    kinds |= {"vqgan": "vqgan"}
    module, _ = SCRIPTS[kinds[name.partition("_")[0]]]
    options = ["--bf16", "false", "--use_cpu", "true", "--output_dir", str(tmp_path)]
    parse_recipe(module.ARGUMENTS, [name, *options, *(["--data", "mine"] if name == "brivl_finetune" else [])])


def test_help_names_the_command(capsys):
    for module, _ in SCRIPTS.values():
        with pytest.raises(SystemExit):
            module.main(["--help"])
        assert capsys.readouterr().out.startswith(f"usage: {module.COMMAND} RECIPE [--FIELD VALUE ...]")


def test_recipe_of_ones_own_without_what_the_trainer_needs_trains(tmp_path):
    from kill_resume import write_inputs

    write_inputs(tmp_path)
    recipe = {name: value for name, value in RECIPE.items() if name != "remove_unused_columns"}
    (tmp_path / "my.yaml").write_text(json.dumps(recipe | {"data": str(tmp_path / "images")}), "utf-8")
    options = ["--max_steps", "1", "--save_strategy", "no", "--output_dir", str(tmp_path / "out")]
    assert (pretrain_brivl.main([str(tmp_path / "my.yaml"), *options]) / "model.safetensors").is_file()
