import json
import os
import shutil

import pytest
import torch
from helpers.brivl.tiny_folder import save_tiny_folder
from helpers.mlmm.folder import write_detector
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForSeq2SeqLM, AutoTokenizer
from wenlan.data.files.model_folder import MissingModelError, detect_model_type, open_pretrained
from wenlan.modeling_brivl import BriVLForPreTraining, BriVLModel


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "brivl"
    save_tiny_folder(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "brivl")


def rewrite(path, change):
    config = json.loads(path.read_text("utf-8"))
    change(config)
    path.write_text(json.dumps(config), "utf-8")


@pytest.mark.parametrize(
    "name",
    ["runs/detector_tiny", "demo/brivl", "./brivl", "/nowhere/brivl", "a b", "x/y/z", "模型", "model.safetensors"],
)
def test_what_can_only_be_a_path_is_never_looked_for_on_the_hub(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingModelError, match=r"^There is no model folder .*\. Give one"):
        open_pretrained(BriVLModel, name)


def test_name_below_a_folder_that_exists_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    with pytest.raises(MissingModelError, match="There is no model folder mine/brivl"):
        open_pretrained(BriVLModel, "mine/brivl")


@pytest.mark.parametrize("name", ["someone/brivl", "brivl-tiny"])
def test_id_of_a_hub_that_cannot_be_reached_is_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingModelError, match=f"^There is no folder {name}, and the hub cannot be reached.$"):
        open_pretrained(AutoModel, name)


def test_file_empty_folder_and_folder_of_checkpoints_are_told_apart(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "run").mkdir()
    shutil.copytree(folder, tmp_path / "run" / "checkpoint-5")
    with pytest.raises(MissingModelError, match="is a file"):
        open_pretrained(BriVLModel, folder / "config.json")
    with pytest.raises(MissingModelError, match="is empty"):
        open_pretrained(BriVLModel, tmp_path / "empty")
    with pytest.raises(MissingModelError, match=r"it has no config\.json; there is one in .*checkpoint-5"):
        open_pretrained(BriVLModel, tmp_path / "run")


def test_model_of_another_type_is_named(tmp_path):
    detector = write_detector(tmp_path / "detector")
    with pytest.raises(ValueError, match=r"holds a model of type 'wenlan_region_detector'; give one of type 'brivl'"):
        open_pretrained(BriVLModel, detector)
    assert detect_model_type(detector) == "wenlan_region_detector"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "is no JSON"),
        (b"\xff\xfe\x00", "is no JSON"),
        (b"", "is no JSON"),
        (b"[1]", "no JSON object"),
        (b"{}", "type 'None'"),
    ],
)
def test_configuration_that_is_none_is_named(folder, content, message):
    (folder / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        open_pretrained(BriVLModel, folder)
    assert len(str(caught.value)) < 400


def encoder(**changes):
    return lambda config: config["text_config"]["encoder_config"].update(changes)


@pytest.mark.parametrize(
    "change",
    [
        encoder(model_type="nonsense"),
        encoder(hidden_size=10**12),
        encoder(vocab_size=10**12),
        encoder(num_attention_heads=0),
        lambda config: config.update(text_config=7),
        lambda config: config.pop("vision_config"),
        lambda config: config["vision_config"].update(backbone="no_such_backbone"),
    ],
)
def test_configuration_of_something_else_is_one_line(folder, change):
    rewrite(folder / "config.json", change)
    with pytest.raises(ValueError, match=str(folder)) as caught:
        open_pretrained(BriVLModel, folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(folder))


@pytest.mark.parametrize("size", [0, 3, 20_000])
def test_cut_weights_are_refused(folder, size):
    os.truncate(folder / "model.safetensors", size)
    with pytest.raises(OSError, match="are damaged"):
        open_pretrained(BriVLModel, folder)


def test_pipe_in_place_of_weights_is_refused(folder):
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")
    with pytest.raises(ValueError, match="is neither a file nor a folder"):
        open_pretrained(BriVLModel, folder)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="is neither a file nor a folder"):
        open_pretrained(BriVLModel, folder)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"", b"{}", b"\xff\xfe", b'{"model": 7}'])
def test_tokenizer_that_is_none_is_one_line(folder, content):
    (folder / "tokenizer.json").write_bytes(content)
    with pytest.raises(ValueError, match=str(folder)) as caught:
        open_pretrained(AutoTokenizer, folder)
    assert "\n" not in str(caught.value)


def test_model_of_another_kind_is_named_without_a_list_of_all_kinds(folder):
    with pytest.raises(ValueError, match="of another kind; give one for Seq2SeqLM") as caught:
        open_pretrained(AutoModelForSeq2SeqLM, folder)
    assert len(str(caught.value)) < 100 + len(str(folder))


def test_missing_weights_are_refused(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(OSError, match="no file named model"):
        open_pretrained(BriVLModel, folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(folder, value):
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.startswith("text_model.") and tensors[name].is_floating_point())
    tensors[name].view(-1)[-1] = value
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    for opener in (BriVLModel, AutoModel):
        with pytest.raises(ValueError, match=f"NaN or infinite, 1 of .*: {name}"):
            open_pretrained(opener, folder)


def test_momentum_towers_must_be_finite_too(tmp_path):
    save_tiny_folder(tmp_path)
    model = BriVLForPreTraining(BriVLModel.from_pretrained(tmp_path).config)
    with torch.no_grad():
        next(model.momentum_text_model.parameters()).fill_(torch.nan)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="momentum_text_model"):
        open_pretrained(BriVLForPreTraining, tmp_path)


def test_whole_folder_opens(folder):
    assert isinstance(open_pretrained(BriVLModel, str(folder)), BriVLModel)
    _, info = open_pretrained(AutoModel, folder, output_loading_info=True)
    assert not info["missing_keys"]
    (folder / "config.json").unlink()
    with pytest.raises(MissingModelError, match="holds no model"):
        open_pretrained(AutoTokenizer, folder)
