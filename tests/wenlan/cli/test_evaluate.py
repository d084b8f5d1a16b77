import json
import shutil

import pytest
import torch
from helpers.brivl.tiny_folder import SENTENCES, save_tiny_folder
from helpers.finetuning.retrieval_models import save_pretrained_mlmm
from helpers.mlmm.corpus_files import write_corpus
from helpers.mlmm.folder import write_model
from PIL import Image
from typer.testing import CliRunner

from wenlan.cli.main import app


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("brivl") / "model"
    save_tiny_folder(folder)
    return folder


@pytest.fixture
def data(tmp_path):
    """Six pairs, half of them for tests, with captions in two languages."""
    lines = []
    for number, text in enumerate(SENTENCES):
        noise = torch.randint(256, (40, 40, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(number))
        Image.fromarray(noise.numpy()).save(tmp_path / f"{number}.png")
        row = {"file_name": f"{number}.png", "text_zh": text, "text_ja": f"{number}匹のねこ"}
        lines.append(json.dumps(row | {"split": "test" if number % 2 else "train"}))
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines), "utf-8")
    return tmp_path


def without_splits(data):
    file = data / "metadata.jsonl"
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    file.write_text("\n".join(json.dumps({k: row[k] for k in row if k != "split"}) for row in rows), "utf-8")


def test_metrics_of_the_test_split_are_printed_and_written(model, data, tmp_path):
    result = run(model, "--data", data, "--text-column", "text_zh", "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "rows of other splits, which are not read: train 3" in result.stdout
    assert "3 images, 3 captions, 3 pairs" in result.stdout
    assert "chance 77.8" in result.stdout
    written = json.loads((tmp_path / "out" / "metrics.json").read_text("utf-8"))
    assert (written["text_column"], written["metrics"]["images"]) == ("text_zh", 3)
    assert written["metrics"]["i2t_R@5"] == 100
    assert written["metrics"]["data"]["other_splits"] == {"train": 3}
    with Image.open(tmp_path / "out" / "image_to_text.png") as drawn:
        assert drawn.width > 300


def test_a_language_that_the_model_does_not_know_is_warned_of(model, data, caplog):
    result = run(model, "--data", data, "--text_column", "text_ja", "--split", "train")
    assert result.exit_code == 0, result.output
    assert "in 100% of the 3 captions" in caplog.text
    assert "(in 100% of the captions)" in result.stdout


def test_files_without_splits_are_taken_whole_or_what_is_held_out_of_them(model, data):
    without_splits(data)
    assert "6 images" in run(model, "--data", data, "--text-column", "text_zh").stdout
    assert "no column split" in run(model, "--data", data, "--text-column", "text_zh", "--split", "test").output
    held = run(model, "--data", data, "--text-column", "text_zh", "--split", "held-out").output
    assert "There are 1 images" in held  # a fifth of 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "has no column 'text'"),
        (["--text-column", "text_zh", "--split", "dev"], "only of train (3), test (3)"),
        (["--text-column", "text_zh", "--split", "held-out"], "has a column split"),
        (["--text-column", "text_zh", "--output", __file__], "is a file; give a folder"),
        (["--text-column", "text_zh", "--regions", "there"], "--regions is for an MLMM"),
        (["--text-column", "text_zh", "--image-root", "nowhere"], "file missing"),
        (["--text-column", "text_zh", "--max-bad-fraction", "0.2", "--split", "train"], "More than 20%"),
    ],
)
def test_mistakes_are_short_errors(model, data, options, message):
    if "--max-bad-fraction" in options:
        for number in (0, 2):
            (data / f"{number}.png").write_bytes(b"")
    result = run(model, "--data", data, *options)
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_model_with_a_weight_that_is_not_finite_is_refused(model, data, tmp_path):
    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(model, tmp_path / "broken")
    state = load_file(broken / "model.safetensors")
    next(value for value in state.values() if value.is_floating_point()).view(-1)[0] = float("nan")
    save_file(state, broken / "model.safetensors", metadata={"format": "pt"})
    result = run(broken, "--data", data, "--text-column", "text_zh")
    assert result.exit_code == 1
    assert "NaN or infinite" in result.output


def test_an_mlmm_is_evaluated_on_the_regions_of_the_images(tmp_path):
    mlmm = save_pretrained_mlmm(tmp_path / "mlmm")
    regions, _ = write_corpus(tmp_path, 6)
    (tmp_path / "captions" / "images").mkdir()
    for number in range(7):
        Image.new("RGB", (64, 48), (number, 0, 0)).save(tmp_path / "captions" / "images" / f"{number}.png")
    file = tmp_path / "captions" / "captions_en.jsonl"
    file.write_text(file.read_text("utf-8") + json.dumps({"image": "images/6.png", "text": ["a cat"]}), "utf-8")
    result = run(mlmm, "--data", file, "--regions", regions)
    assert result.exit_code == 0, result.output
    assert "left out 1 x no regions" in result.stdout
    assert "6 images" in result.stdout
    assert "give --regions FOLDER" in run(mlmm, "--data", file).output
    assert "More than 0%" in run(mlmm, "--data", file, "--regions", regions, "--max-bad-fraction", 0).output
    answering = write_model(tmp_path / "vqa")
    message = "lacks 4 weights of MLMMForImageTextRetrieval, such as itm_head.bias"
    assert message in run(answering, "--data", file, "--regions", regions).output
