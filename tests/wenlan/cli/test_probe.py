import json

import pytest
from helpers.image_folder import write_image_folder, write_probe_inputs
from PIL import Image
from typer.testing import CliRunner

from wenlan.cli.main import app


def run(*arguments):
    return CliRunner().invoke(app, ["probe", *map(str, arguments)])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_probe_inputs(tmp_path_factory.mktemp("probe"))


def test_numbers_are_printed_and_written(root, tmp_path, caplog):
    arguments = ["--train", root / "train", "--test", root / "test", "--layer", "pooled", "--output", tmp_path / "out"]
    result = run(root / "model", "timm:test_efficientnet:random", *arguments)
    assert result.exit_code == 0, result.output
    assert "Percent of 12 images of 3 classes, trained on 15; chance 33.3" in result.stdout
    assert f"curves: {tmp_path / 'out' / 'few_shot.png'}" in result.stdout.replace("\n", "")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text("utf-8"))
    assert metrics["comparable"] is False
    for note in metrics["notes"]:
        assert note in result.stdout
        assert note in caplog.messages
    assert metrics["notes"][0].startswith("Few images")
    assert (tmp_path / "out" / "probe.csv").read_text("utf-8").startswith("model,weights,layer")
    with Image.open(tmp_path / "out" / "few_shot.png") as drawn:
        assert drawn.width > 500


def test_json_is_alone_on_stdout(root, tmp_path):
    options = ["--layer", "pooled", "--no-random-tower", "--output", tmp_path / "out", "--json"]
    result = run(root / "model", "--train", root / "train", "--test", root / "test", *options)
    assert json.loads(result.stdout) == json.loads((tmp_path / "out" / "metrics.json").read_text("utf-8"))
    assert "Percent of " in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--train", "none", "--test", "none"], "There is no folder none"),
        (["--train", "{root}/train"], "nothing to evaluate on"),
        (["--train", "{root}/train", "--test", "{root}/test", "--output", "{root}/model/config.json"], "is no folder"),
        (["--train", "{root}/train", "--test", "{root}/test", "--output", "/sys/kernel"], "cannot be written into"),
        (["--train", "{root}/train", "--test", "{root}/test", "--device", "gpu"], "The device 'gpu' cannot be used"),
        (["--train", "emoji7", "--test", "{root}/test"], "emoji7 is evaluated on its own"),
    ],
)
def test_mistakes_are_told_in_a_line(arguments, message, root):
    result = run(root / "model", *(argument.format(root=root) for argument in arguments))
    assert result.exit_code == 1
    assert message in result.output.replace("\n", " ")
    assert "Traceback" not in result.output


def test_almost_only_broken_images_are_told_in_a_line(root, tmp_path):
    test = write_image_folder(tmp_path / "test")
    for path in [*test.rglob("*.png")][:-1]:
        path.write_bytes(b"broken")
    result = run(root / "model", "--train", root / "train", "--test", test)
    assert result.exit_code == 1
    assert "More than 1% of the images cannot be decoded" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(("name", "message"), [("{root}/none", "There is no model folder"), ("", "holds no model")])
def test_missing_model_is_told(name, message, root):
    result = run(name.format(root=root), "--train", root / "train", "--test", root / "test")
    assert result.exit_code == 1
    assert message in result.output
