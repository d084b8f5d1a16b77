import json

import pytest
from helpers.brivl.tiny_folder import SENTENCES, save_tiny_folder
from typer.testing import CliRunner

from wenlan.cli.main import app

run = CliRunner().invoke


@pytest.fixture
def model_folder(tmp_path):
    save_tiny_folder(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.slow
def test_onnx_writes_both_towers_and_prints_their_differences(model_folder, tmp_path):
    result = run(app, ["export", "onnx", str(model_folder), "--output", str(tmp_path / "onnx")])
    assert result.exit_code == 0, result.output
    assert "image_tower.onnx" in result.output
    assert "largest difference to PyTorch" in result.output
    assert (tmp_path / "onnx" / "text_tower.onnx").exists()


@pytest.mark.slow
def test_int8_measures_on_the_sentences_of_a_file(model_folder, tmp_path):
    (tmp_path / "texts.txt").write_text("\ufeff" + "\n\n".join(SENTENCES) + "\n", "utf-8")
    options = ["--sentences", str(tmp_path / "texts.txt")]
    result = run(app, ["export", "int8", str(model_folder), "--output", str(tmp_path / "int8"), *options])
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "int8" / "text_tower.int8.json").read_text("utf-8"))
    assert report["sentences"] == len(SENTENCES)
    assert f"mean {report['cosine_mean']:.5f}" in result.output


@pytest.mark.slow
def test_int8_measures_on_emoji7_without_a_file(model_folder, tmp_path):
    result = run(app, ["export", "int8", str(model_folder), "--output", str(tmp_path / "int8")])
    assert result.exit_code == 0, result.output
    assert "4591 sentences" in result.output


@pytest.mark.parametrize("kind", ["onnx", "int8"])
def test_folder_without_a_model_is_one_line_and_exit_code_one(kind, tmp_path):
    result = run(app, ["export", kind, str(tmp_path / "nothing"), "--output", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "Error:" in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_file_without_a_sentence_is_refused(model_folder, tmp_path):
    (tmp_path / "texts.txt").write_text("\n \n", "utf-8")
    result = run(
        app,
        [
            "export",
            "int8",
            str(model_folder),
            "--output",
            str(tmp_path / "out"),
            "--sentences",
            str(tmp_path / "texts.txt"),
        ],
    )
    assert result.exit_code == 1
    assert "nothing to embed" in result.output
