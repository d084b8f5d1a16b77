import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner
from wenlan.data import load_emoji7

from wenlan.cli.main import app

run = CliRunner().invoke


def test_help_lists_the_commands():
    result = run(app, ["--help"])
    assert result.exit_code == 0
    commands = ["quickstart", "demo-mlmm", "pretrain-brivl", "pretrain-mlmm", "finetune-retrieval", "finetune-vqa"]
    for command in [*commands, "table1", "table3", "table4", "train-detector", "zero-shot", "embed"]:
        assert command in result.output
    for panel in ("Demo", "Train", "Predict", "Data", "Convert", "Reproduce"):
        assert f" {panel} " in result.output


def test_version_is_printed():
    result = run(app, ["--version"])
    assert result.output == f"wenlan {version('wenlan')}\n"
    assert result.exit_code == 0


def test_debug_keeps_the_traceback_of_a_mistake():
    result = run(app, ["--debug", "pretrain-brivl", "brivl_huge"])
    assert isinstance(result.exception, FileNotFoundError)


@pytest.mark.parametrize(
    ("command", "group", "default"),
    [
        (["pretrain-brivl", "brivl_tiny_scratch"], "Lora:", "(default: 900)"),
        (["pretrain-mlmm", "mlmm_tiny"], "Batch:", "(default: 9000)"),
        (["finetune-retrieval", "retrieval_tiny"], "Retrieval Data:", "(default: runs/mlmm_tiny)"),
        (["finetune-vqa", "vqa_tiny"], "Question:", "(default: 3000)"),
        (["train-detector", "detector_tiny"], "Detector:", "(default: 600)"),
        (["train-vqgan", "vqgan_tiny"], "VQGAN:", "(default: 2500)"),
        (["table3"], "gets the table and a folder for each run", "(default: runs/mlmm_tiny)"),
        (["table4", "vqa_tiny"], "gets the table and a folder for each run", "(default: 3000)"),
    ],
)
def test_help_of_a_training_command_lists_all_options_with_the_recipe_s_defaults(command, group, default):
    result = run(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Training (transformers.TrainingArguments):" in result.output
    assert group in result.output
    assert default in result.output


def test_other_spelling_of_options_is_understood(tmp_path):
    options = ["--output", str(tmp_path), "--size", "2", "--num_classes", "16", "--canvas", "128", "--split", "test"]
    result = run(app, ["data", "scenes", *options])
    assert result.exit_code == 0, result.output


@pytest.mark.slow
def test_zero_shot_prints_a_probability_per_label_and_skips_bad_images(quickstart_folder, tmp_path):
    for name in ("good.png", "better.png"):
        load_emoji7()["test"][0]["image"].save(tmp_path / name)
    (tmp_path / "bad.png").write_text("no image")
    images = [str(tmp_path / name) for name in ("good.png", "bad.png", "better.png")]
    for given, code in ((images, 0), (images[:2], 1)):  # one image may be bad, if it is not half of them
        result = run(app, ["zero-shot", str(quickstart_folder), *given, "--labels", "猫，狗, 飞机"])
        assert result.exit_code == code, result.output
        assert "bad.png  skipped:" in result.output
        line = next(line for line in result.stdout.splitlines() if "good.png" in line)
        assert {"猫", "狗", "飞机"} <= set(line.split())
        assert line.count("%") == 3


@pytest.mark.slow
def test_zero_shot_fails_when_no_image_can_be_read(quickstart_folder, tmp_path):
    (tmp_path / "bad.png").write_text("no image")
    result = run(app, ["zero-shot", str(quickstart_folder), str(tmp_path / "bad.png"), "--labels", "猫,狗"])
    assert result.exit_code == 1
    assert "kept 0 of 1 rows" in result.output
    assert "bad.png is not an image" in result.output


@pytest.mark.slow
def test_embed_writes_parquet(quickstart_folder, tmp_path):
    (tmp_path / "texts.txt").write_text("猫\n狗\n", "utf-8")
    output = tmp_path / "texts.parquet"
    result = run(app, ["embed", str(quickstart_folder), str(tmp_path / "texts.txt"), "--output", str(output)])
    assert result.exit_code == 0, result.output
    assert pq.read_table(output).num_rows == 2


@pytest.mark.parametrize(
    ("command", "known"),
    [
        ("pretrain-brivl", "brivl_tiny_scratch"),
        ("pretrain-mlmm", "mlmm_tiny"),
        ("finetune-retrieval", "retrieval_tiny"),
        ("finetune-vqa", "vqa_tiny"),
        ("table3", "retrieval_tiny"),
        ("table4", "vqa_tiny"),
        ("train-detector", "detector_tiny"),
        ("train-vqgan", "vqgan_tiny"),
    ],
)
def test_mistake_is_one_line_and_exit_code_one(command, known):
    result = run(app, [command, "brivl_huge"])
    assert result.exit_code == 1
    assert known in result.output
    assert "Traceback" not in result.output


def test_zero_shot_of_a_folder_without_a_model_is_an_error(tmp_path):
    result = run(app, ["zero-shot", str(tmp_path), "x.png", "--labels", "猫"])
    assert result.exit_code == 1
    assert "Error:" in result.output


def test_wrong_value_in_a_recipe_is_one_line_and_exit_code_one(tmp_path):
    recipe = tmp_path / "bad.yaml"
    recipe.write_text("model_config: {temperature: 0.0}\noutput_dir: out\n", "utf-8")
    result = run(app, ["pretrain-brivl", str(recipe)])
    assert result.exit_code == 1
    assert "temperature must be positive" in result.output


def test_reader_that_goes_away_ends_the_command_without_a_word():
    command = [Path(sys.executable).parent / "wenlan", "recipes", "list"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 1
