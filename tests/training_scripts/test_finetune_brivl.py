import json
import re

import pytest
import torch
from helpers.brivl.tiny_folder import SENTENCES, save_tiny_folder
from PIL import Image
from typer.testing import CliRunner
from wenlan.data.pairs.splits import HELD_OUT
from wenlan.training_scripts.finetune_brivl import main

from wenlan.cli.main import app

SMOKE = ["--use_cpu", "true", "--disable_tqdm", "true", "--max_steps", "3", "--learning_rate", "0.01"]


def write_pairs(folder, number, **columns):
    """Writes so many pairs; a column is a function of the number of a row."""
    folder.mkdir()
    lines = []
    for index in range(number):
        noise = torch.randint(256, (40, 40, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(index))
        Image.fromarray(noise.numpy()).save(folder / f"{index}.png")
        row = {"file_name": f"{index}.png", "text": SENTENCES[index % len(SENTENCES)] + SENTENCES[index // 6 % 6]}
        lines.append(json.dumps(row | {name: column(index) for name, column in columns.items()}))
    (folder / "metadata.jsonl").write_text("\n".join(lines), "utf-8")
    return str(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("brivl") / "model"
    save_tiny_folder(folder)
    return str(folder)


def finetune(model, data, output, *options):
    return main([model, "--data", data, "--output_dir", str(output), *SMOKE, *options])


def test_twenty_pairs_train_with_some_held_out_and_both_figures_are_given(model, tmp_path, capfd):
    data = write_pairs(tmp_path / "mine", 20)
    folder = finetune(model, data, tmp_path / "out")
    printed, errors = capfd.readouterr()
    assert "16 pairs: 3 steps of 8, a queue of 8" in printed
    assert "Evaluates on 4 images (held-out) that are not trained on." in printed
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    before, after = metrics["before"], metrics["after"]
    assert (metrics["split"], before["images"], before["chance_mean_recall"]) == (HELD_OUT, 4, pytest.approx(75))
    assert f"{before['mean_recall']:.1f} before, {after['mean_recall']:.1f} after" in printed
    assert "MISSING" not in errors  # momentum towers start from the query towers
    command = re.search(r"Next: wenlan (evaluate .*)", printed)[1].split()
    for evaluated, expected in ((command[1], after), (model, before)):
        again = CliRunner().invoke(app, [command[0], evaluated, *command[2:]])
        assert again.exit_code == 0, again.output
        assert f"mean recall   {expected['mean_recall']:.1f} (" in again.stdout


@pytest.mark.parametrize(("names", "split"), [(("train", "val", "test"), "validation"), (("train", "test"), "test")])
def test_a_split_of_the_file_is_evaluated_on_and_not_trained_on(model, tmp_path, capsys, names, split):
    data = write_pairs(tmp_path / "mine", 18, split=lambda index: names[index % len(names)])
    finetune(model, data, tmp_path / "out")
    printed = capsys.readouterr().out
    assert f"{18 // len(names)} pairs: 3 steps" in printed
    assert f"Evaluates on {18 // len(names)} images ({split})" in printed
    assert f"--split {split}" in printed


@pytest.mark.parametrize("number", [3, 4])
def test_a_handful_of_pairs_trains_without_an_evaluation_and_says_so(model, tmp_path, capsys, number):
    folder = finetune(model, write_pairs(tmp_path / "mine", number), tmp_path / "out")
    assert "No evaluation" in capsys.readouterr().out
    assert not (folder / "metrics.json").exists()


def test_a_column_of_a_language_is_named_in_the_next_command(model, tmp_path, capsys):
    data = write_pairs(tmp_path / "mine", 20, text_zh=lambda index: SENTENCES[index % 6] + "一" * (index // 6))
    finetune(model, data, tmp_path / "out", "--text_column", "text_zh")
    assert "--split held-out --text-column text_zh" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Give the folder or hub id of a BriVL first"),
        (["--data", "photos"], "Give the folder or hub id of a BriVL first"),
        (["runs/quickstart"], "Give --data"),
        (["runs/quickstart", "--data", "photos", "--learning_rat", "1"], "did you mean --learning_rate"),
        (["runs/none", "--data", "DATA"], "There is no model folder runs/none"),
    ],
)
def test_mistakes_are_short_errors(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / "DATA", 5)
    result = CliRunner().invoke(app, ["finetune-brivl", *words])
    assert result.exit_code == 1
    assert message in result.output
    assert len(result.output.strip().splitlines()) <= 2
