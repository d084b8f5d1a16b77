import json
import shutil

import pytest
from helpers.brivl.tiny_folder import save_tiny_folder
from helpers.mlmm.folder import write_model
from transformers import AutoProcessor
from typer.testing import CliRunner
from wenlan.pipelines import open_brivl
from wenlan.processing import build_character_tokenizer

from wenlan.cli.main import app


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "brivl"
    save_tiny_folder(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "brivl")


def test_model_is_ready_with_its_processor(folder):
    model, processor = open_brivl(folder)
    assert not model.training
    assert model(**processor(text="猫", return_tensors="pt")).text_embeds.shape == (1, model.config.projection_dim)


def rewrite(path, change):
    saved = json.loads(path.read_text("utf-8"))
    change(saved)
    path.write_text(json.dumps(saved), "utf-8")


def keep_special_tokens(folder):
    def keep(saved):
        saved["model"]["vocab"] = {token: number for token, number in saved["model"]["vocab"].items() if number < 5}

    rewrite(folder / "tokenizer.json", keep)


@pytest.mark.parametrize("damage", [lambda folder: (folder / "tokenizer.json").unlink(), keep_special_tokens])
def test_tokenizer_without_vocabulary_is_refused_wherever_it_is_opened(folder, damage):
    damage(folder)
    for opener in (open_brivl, AutoProcessor.from_pretrained):
        with pytest.raises(ValueError, match="has no vocabulary"):
            opener(folder)


@pytest.mark.parametrize("characters", [40, 4000])
def test_tokenizer_of_another_model_is_refused(folder, characters):
    rewrite(folder / "config.json", lambda config: config["text_config"]["encoder_config"].update(vocab_size=1000))
    text = "".join(chr(0x4E00 + number) for number in range(characters))
    build_character_tokenizer([text], max_length=11).save_pretrained(folder)
    with pytest.raises(ValueError, match="it is another model's"):
        AutoProcessor.from_pretrained(folder)


def test_tokenizer_with_numbers_that_the_model_lacks_is_refused(folder):
    def move(saved):
        vocab = saved["model"]["vocab"]
        saved["model"]["vocab"] = {token: number if number < 8 else number + 50 for token, number in vocab.items()}

    rewrite(folder / "tokenizer.json", move)
    with pytest.raises(ValueError, match="it is another model's"):
        open_brivl(folder)


def test_processor_of_mlmm_is_checked_alike(tmp_path):
    folder = write_model(tmp_path / "mlmm")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match="has no vocabulary"):
        AutoProcessor.from_pretrained(folder)


def test_folder_without_a_processor_is_named(folder):
    (folder / "processor_config.json").unlink()
    with pytest.raises(FileNotFoundError, match="has no processor_config"):
        open_brivl(folder)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("runs/quickstart", "wenlan quickstart"),
        ("./runs/brivl_small/", "wenlan pretrain-brivl brivl_small"),
        ("runs/demo_mlmm/mlmm", "wenlan demo-mlmm"),
        ("runs/mine", "Give one"),
    ],
)
def test_command_that_makes_a_missing_model_is_named(name, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.txt").write_text("猫\n", "utf-8")
    result = CliRunner().invoke(app, ["embed", name, "s.txt", "--output", "o.parquet"])
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert f"There is no model folder {name}" in result.output
    assert command in result.output
