"""Containers in which the originals' weights come: all give the same weights, and nothing in them is run."""

import argparse
import io
import pathlib
import pickle

import numpy as np
import pytest
import torch
from helpers.brivl.golden import our_config, read_golden
from helpers.mlmm.golden import Golden
from helpers.mlmm.golden_files import write_golden
from helpers.tar_files import write_tar
from safetensors.torch import save_file
from typer.testing import CliRunner
from wenlan.conversion.brivl import convert_brivl
from wenlan.conversion.mlmm import convert_mlmm
from wenlan.data.files.checkpoint import read_checkpoint, unwrap_weights
from wenlan.modeling_brivl import BriVLModel, convert_original_checkpoint
from wenlan.modeling_mlmm import MLMMForPreTraining

from wenlan.cli.main import app

TENSORS, META = read_golden("boxes")
WHOLE = {key.removeprefix("ckpt."): tensor for key, tensor in TENSORS.items() if key.startswith("ckpt.")}
TOWERS = {key.removeprefix("learnable."): tensor for key, tensor in WHOLE.items() if key.startswith("learnable.")}
VOCABULARY = [f"[unused{i}]" for i in range(META["bert"]["vocab_size"] - 5)] + [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
]


class Note:
    """An object of a class that nobody else has; opened carelessly, it makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __setstate__(self, state):
        pathlib.Path(state["path"]).touch()


NEIGHBOURS = {
    "global_step": torch.tensor(3),
    "epoch": np.float64(3),
    "best": torch.tensor(0.5),
    "mean": torch.zeros(3),
    "cfg": argparse.Namespace(lr=0.1, path=pathlib.Path("x")),
    "model": {"NAME": "VL", "TOPK": 1},
    "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"betas": (0.9, 0.99)}]},
    "amp": None,
}
WRAPPED = {
    "released": {"learnable": TOWERS, **NEIGHBOURS},
    "several GPUs": {"learnable": {f"module.{key}": x for key, x in TOWERS.items()}, **NEIGHBOURS},
    "model": {"model": WHOLE, "epoch": 3},
    "state_dict": {"state_dict": {f"module.{key}": x for key, x in WHOLE.items()}, "note": {1, 2}},
    "model_state_dict": {"model_state_dict": {"learnable": TOWERS}, "args": argparse.Namespace()},
    "flat": {**TOWERS, "optimizer": NEIGHBOURS["optimizer"], "global_step": torch.tensor(9), "lr": 0.1},
    "half": {"learnable": {key: x.half() if x.is_floating_point() else x for key, x in TOWERS.items()}},
}


def same(found, expected):
    return all(torch.equal(found[name].float(), tensor.float()) for name, tensor in expected.items())


@pytest.fixture(scope="module")
def expected():
    with torch.device("meta"):
        names = BriVLModel(our_config(META)).state_dict()
    return names, convert_original_checkpoint({"learnable": TOWERS}, names).query


@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("wrapping", WRAPPED)
def test_brivl_is_found_behind_any_wrapping(wrapping, protocol, expected, tmp_path):
    names, query = expected
    torch.save(WRAPPED[wrapping], tmp_path / "a.pth", pickle_protocol=protocol)
    converted = convert_original_checkpoint(unwrap_weights(read_checkpoint(tmp_path / "a.pth")), names)
    if wrapping == "half":
        query = {key: x.half() if x.is_floating_point() else x for key, x in query.items()}
    assert same(converted.query, query)
    assert converted.query.keys() == query.keys()


def test_what_lies_beside_the_weights_is_named_in_the_summary(expected, tmp_path):
    torch.save(WRAPPED["released"], tmp_path / "a.pth")
    dropped = convert_original_checkpoint(read_checkpoint(tmp_path / "a.pth"), expected[0]).dropped
    assert {"cfg, no tensor", "epoch, no tensor", "mean, no part of the weights"} <= dropped.keys()


def write_sizes(folder):
    """Writes what a user gives for a checkpoint of other sizes, and returns it: our config.json, the vocabulary."""
    (folder / "text").mkdir()
    (folder / "text" / "vocab.txt").write_text("\n".join(VOCABULARY), "utf-8")
    our_config(META).to_json_file(folder / "config.json")
    return {"config_file": folder / "config.json", "text_folder": folder / "text"}


def brivl_command(folder, checkpoint):
    sizes = write_sizes(folder)
    options = ["--output", folder / "out", "--config", sizes["config_file"], "--text-config", sizes["text_folder"]]
    return CliRunner().invoke(app, ["convert", "brivl", "--checkpoint", *map(str, [checkpoint, *options])])


def saved(content, **options):
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


@pytest.mark.parametrize("name", ["BriVL-pretrain-model/BriVL-1.0-5500w.pth", "BriVL-1.0-5500w"])
def test_command_opens_the_distributed_tar(name, expected, tmp_path):
    content = {**WRAPPED["released"], "note": Note(tmp_path / "trace")}
    members = {"BriVL-pretrain-model": None, f"{name}": saved(content), "BriVL-pretrain-model/._x.pth": b"\x80\x02N."}
    result = brivl_command(tmp_path, write_tar(tmp_path / "BriVL-1.0-5500w.tar", members))
    assert result.exit_code == 0, result.output
    assert same(BriVLModel.from_pretrained(tmp_path / "out").state_dict(), expected[1])
    assert not (tmp_path / "trace").exists()
    pickle.loads(pickle.dumps(content["note"]))
    assert (tmp_path / "trace").exists()  # else the line above would show nothing


CONTAINERS = {
    "pickle that is called .tar": (saved({"learnable": TOWERS}, _use_new_zipfile_serialization=False), 0, "Next: "),
    "plain pickle": (pickle.dumps({"learnable": TOWERS}, 4), 0, "Next: "),
    "empty": (b"", 1, "it is empty"),
    "text": (b"version https://git-lfs.github.com/spec/v1\n", 1, "neither a file of torch.save nor one of safetensors"),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_command_reads_a_file_by_its_content(kind, tmp_path):
    content, code, message = CONTAINERS[kind]
    (tmp_path / "BriVL-1.0-5500w.tar").write_bytes(content)
    result = brivl_command(tmp_path, tmp_path / "BriVL-1.0-5500w.tar")
    assert (result.exit_code, message in result.output) == (code, True), result.output
    assert "Traceback" not in result.output
    assert (tmp_path / "out").exists() == (code == 0)


def test_folder_in_the_place_of_the_file_is_named(tmp_path):
    (tmp_path / "BriVL-1.0-5500w").mkdir()
    (tmp_path / "BriVL-1.0-5500w" / "BriVL.pth").touch()
    result = brivl_command(tmp_path, tmp_path / "BriVL-1.0-5500w")
    assert result.exit_code == 1
    assert "is no regular file but a folder: give the checkpoint in it, such as BriVL.pth." in result.output


@pytest.mark.parametrize("wrapping", ["model", "state_dict", "flat", "tar"])
def test_mlmm_is_found_behind_the_same_wrappings(wrapping, tmp_path):
    weights = Golden("uc2_tiny").checkpoint("pretrain")
    checkpoint = write_golden(tmp_path, "uc2_tiny")
    rest = {key: value for key, value in NEIGHBOURS.items() if key != "model"}
    content = {**weights, **rest, 7: "a number"} if wrapping == "flat" else {wrapping: weights, **rest}
    if wrapping == "tar":
        checkpoint = write_tar(tmp_path / "uc2.tar", {"uc2/best.pt": saved(weights), "uc2/log.txt": b"step 1"})
    else:
        torch.save(content, checkpoint)
    options = {"tokenizer": tmp_path / "tokenizer", "config_file": tmp_path / "sizes.json"}
    model = MLMMForPreTraining.from_pretrained(convert_mlmm(checkpoint, tmp_path / "out", **options))
    assert torch.equal(model.itm_head.weight, weights["itm_output.weight"])


def test_safetensors_under_another_name_are_read(tmp_path):
    folder = write_golden(tmp_path, "uc2_tiny").parent
    weights = {key: x.clone() for key, x in Golden("uc2_tiny").checkpoint("pretrain").items()}
    save_file(weights, tmp_path / "a.pth")
    options = {"tokenizer": folder / "tokenizer", "config_file": folder / "sizes.json"}
    assert convert_mlmm(tmp_path / "a.pth", tmp_path / "out", **options).is_dir()


def test_storage_of_all_weights_at_once_converts_alike(expected, tmp_path):
    floats = {key: x for key, x in TOWERS.items() if x.is_floating_point()}
    parts = torch.cat([x.flatten() for x in floats.values()]).split([x.numel() for x in floats.values()])
    shared = {key: part.view_as(floats[key]) for key, part in zip(floats, parts, strict=True)}
    torch.save({"learnable": {**TOWERS, **shared}}, tmp_path / "a.pth")
    folder = convert_brivl(tmp_path / "a.pth", tmp_path / "out", **write_sizes(tmp_path))
    assert same(BriVLModel.from_pretrained(folder).state_dict(), expected[1])
