"""Files of strangers that would run code: whatever opens them, nothing of it runs."""

import json
import os
import pickle
import re
import subprocess
from configparser import ConfigParser
from contextlib import suppress

import lmdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from helpers.brivl.tiny_folder import save_tiny_folder
from helpers.mlmm.folder import write_detector, write_model
from helpers.paths import ROOT
from helpers.training.tiny_trainer import build_trainer
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoProcessor, AutoTokenizer
from wenlan.data.files.checkpoint import read_checkpoint
from wenlan.data.files.safe_npz import read_npz
from wenlan.data.regions.load import read_regions
from wenlan.data.regions.uniter_lmdb import UniterLmdb
from wenlan.modeling_brivl import BriVLConfig
from wenlan.modeling_region_detector import RegionDetector, RegionDetectorConfig
from wenlan.processing import MLMMProcessor
from wenlan.processing.regions.detectron2_interop.weights import read_detector_weights
from wenlan.processing.regions.detectron2_interop.yaml_loader import read_detectron2_yaml
from wenlan.training.checkpoints.manifest import write_manifest
from wenlan.training.recipe_options import read_yaml

import wenlan  # noqa: F401  makes the Auto classes know BriVL

REFUSED = (ValueError, OSError, StrictDataclassError, pickle.UnpicklingError)


class RunsCode:
    """Unpickled carelessly, it makes a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_tiny_folder(folder / "brivl")
    write_model(folder / "mlmm")
    write_detector(folder / "detector")
    return folder


@pytest.fixture
def attack(tmp_path, models, monkeypatch):
    """A folder with copies of the models and payloads, and the marker that a payload would make."""
    monkeypatch.chdir(tmp_path)
    subprocess.run(["cp", "-r", *map(str, models.iterdir()), str(tmp_path)], check=True)
    marker = tmp_path / "marker"
    torch.save({"w": RunsCode(marker)}, tmp_path / "evil.pth")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"model": RunsCode(marker)}))
    info = np.empty((), object)
    info[()] = RunsCode(marker)
    np.savez(tmp_path / "evil.npz", info=info)
    code = f"open({str(marker)!r}, 'w')\nfrom transformers import *\nEvil = BertConfig = BertTokenizer = object\n"
    for name in ("brivl", "mlmm", "detector"):
        (tmp_path / name / "evil.py").write_text(code)
    (tmp_path / "pytorch_model.bin").symlink_to("evil.pth")
    (tmp_path / "evil.py").write_text(code)
    return tmp_path


def change(folder, name, **fields):
    """Change fields of a JSON file; `a__b` is b within a."""
    path = folder / name
    content = json.loads(path.read_text())
    for key, value in fields.items():
        place = content
        *parents, last = key.split("__")
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    path.write_text(json.dumps(content))


def assert_nothing_runs(folder, *openers):
    for opener in openers:
        with suppress(*REFUSED):
            opener()
    assert not (folder / "marker").exists()


def test_the_payload_would_run(attack):
    torch.load(attack / "evil.pth", weights_only=False)
    assert (attack / "marker").exists()


BACKBONES = {
    "checkpoint": {"backbone_kwargs": {"checkpoint_path": "evil.pth"}},
    "pretrained file": {"backbone_kwargs": {"pretrained": True, "pretrained_cfg_overlay": {"file": "evil.pth"}}},
    "pretrained configuration": {"backbone_kwargs": {"pretrained_cfg": {"file": "evil.pth"}}},
    "pretrained strictness": {"backbone_kwargs": {"pretrained_strict": False}},
    "features": {"backbone_kwargs": {"features_only": True, "feature_cls": "fx"}},
    "cache": {"backbone_kwargs": {"cache_dir": "/etc"}},
    "object for a number": {"backbone_kwargs": {"drop_rate": {"a": 1}}},
    "hub": {"backbone": "hf-hub:evil/model"},
    "old hub": {"backbone": "hf_hub:evil/model"},
    "folder": {"backbone": "local-dir:."},
    "file": {"backbone": "file:evil.pth"},
    "path": {"backbone": "../evil"},
    "repository": {"backbone": "evil/model"},
    "line end": {"backbone": "tf_efficientnet_lite0\n"},
}


@pytest.mark.parametrize("name", BACKBONES)
def test_backbone_of_a_configuration_opens_nothing(name, attack, monkeypatch):
    fields = BACKBONES[name]
    change(attack / "brivl", "config.json", **{f"vision_config__{key}": value for key, value in fields.items()})
    opened = []
    monkeypatch.setattr(torch, "load", lambda *args, **kwargs: opened.append(args))
    with pytest.raises(REFUSED, match=r"backbone(_kwargs)?( |:)"):
        AutoModel.from_pretrained(attack / "brivl")
    if "backbone" in fields:
        change(attack / "detector", "config.json", **fields)
        with pytest.raises(REFUSED, match="backbone is"):
            RegionDetector.from_pretrained(attack / "detector")
    assert not opened
    assert_nothing_runs(attack)


ENCODERS = {
    "a wrapper of timm": {
        "model_type": "timm_wrapper",
        "architecture": "resnet18",
        "model_args": {"checkpoint_path": 1},
    },
    "two towers": {"model_type": "vision-encoder-decoder"},
    "towers of any kind": {"model_type": "modernvbert"},
    "unknown": {"model_type": "evil"},
    "a path": {"model_type": "../evil"},
    "a list": {"model_type": ["bert"]},
}


@pytest.mark.parametrize("name", ENCODERS)
def test_only_text_encoders_are_built(name, attack):
    change(attack / "brivl", "config.json", text_config__encoder_config=ENCODERS[name])
    with pytest.raises(REFUSED, match="is no text encoder"):
        AutoModel.from_pretrained(attack / "brivl")
    assert_nothing_runs(attack)


def test_code_and_places_that_a_configuration_names_are_not_opened(attack):
    auto_map = dict.fromkeys(("AutoConfig", "AutoModel", "AutoProcessor", "AutoImageProcessor"), "evil.Evil")
    auto_map["AutoTokenizer"] = ["evil.Evil", "evil.Evil"]
    for name in ("brivl", "mlmm", "detector"):
        for file in (attack / name).glob("*.json"):
            if file.name in (
                "config.json",
                "processor_config.json",
                "tokenizer_config.json",
                "preprocessor_config.json",
            ):
                change(attack / name, file.name, auto_map=auto_map, _name_or_path=str(attack))
    encoder = {"text_config__encoder_config__auto_map": auto_map}
    change(attack / "brivl", "config.json", **encoder, text_config__encoder_config___name_or_path=str(attack))
    model = AutoModel.from_pretrained(attack / "brivl")
    assert not hasattr(model.config.text_config.encoder_config, "auto_map")
    classes = (AutoConfig, AutoModel, AutoProcessor, AutoImageProcessor, AutoTokenizer)
    folders = [attack / name for name in ("brivl", "mlmm", "detector")]
    assert_nothing_runs(
        attack, *(lambda one=one, folder=folder: one.from_pretrained(folder) for one in classes for folder in folders)
    )


@pytest.mark.parametrize("place", ["", "text_config__", "vision_config__", "text_config__encoder_config__"])
def test_compiled_code_of_a_repository_is_refused(place, attack):
    change(attack / "brivl", "config.json", **{f"{place}attn_implementation": "evil/kernel:forward"})
    with pytest.raises(REFUSED, match="attn_implementation is 'evil/kernel"):
        BriVLConfig.from_pretrained(attack / "brivl")
    for name in ("mlmm", "detector"):
        change(attack / name, "config.json", attn_implementation="evil/kernel")
        with pytest.raises(REFUSED, match="attn_implementation is 'evil/kernel"):
            AutoConfig.from_pretrained(attack / name)


def test_pickled_weights_of_a_folder_are_not_run(attack):
    for name in ("brivl", "mlmm", "detector"):
        (attack / name / "model.safetensors").unlink()
        (attack / name / "pytorch_model.bin").write_bytes((attack / "evil.pth").read_bytes())
    opener = AutoModel.from_pretrained
    assert_nothing_runs(
        attack, lambda: opener(attack / "brivl"), lambda: opener(attack / "mlmm"),
        lambda: RegionDetector.from_pretrained(attack / "detector"),
    )  # fmt: skip


def test_pickled_arrays_and_checkpoints_are_not_run(attack):
    assert_nothing_runs(
        attack,
        lambda: read_npz(attack / "evil.npz", allow_pickle=True),
        lambda: read_npz(attack / "evil.npz"),
        lambda: read_checkpoint(attack / "evil.pth"),
        lambda: read_detector_weights(attack / "evil.pth"),
        lambda: read_detector_weights(attack / "evil.pkl"),
    )


@pytest.mark.parametrize(
    "tag", ["python/object/apply:os.system", "python/object/new:os.system", "python/name:os.system"]
)
def test_yaml_that_calls_is_refused(tag, attack):
    text = f"MODEL: !!{tag} ['touch {attack / 'marker'}']\n"
    (attack / "evil.yaml").write_text(text)
    for opener in (lambda: read_yaml(text), lambda: read_detectron2_yaml(attack / "evil.yaml")):
        with pytest.raises(ValueError, match=r"evil\.yaml|tag"):
            opener()
    assert_nothing_runs(attack)


def test_yaml_that_grows_is_refused_at_once(tmp_path):
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="more than"):
        read_detectron2_yaml(tmp_path / "bomb.yaml")


def test_values_of_a_database_are_not_run(attack):
    (attack / "db").mkdir()
    with lmdb.open(str(attack / "db")) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"a", (attack / "evil.pkl").read_bytes())
        transaction.put(b"b", (attack / "evil.npz").read_bytes())
        transaction.put(b"c", b"\x81\xa2nd\xc3\xa4type\xa1O\xa4data\xc4\x08AAAAAAAA\xa5shape\x91\x01")
    with UniterLmdb(attack / "db") as database:
        assert database.names() == ["a", "b", "c"]
        assert_nothing_runs(attack, *(lambda name=name: database.read(name) for name in "abc"))


def test_type_that_a_parquet_file_brings_is_not_unpickled(attack):
    metadata = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": (attack / "evil.pkl").read_bytes(),
    }
    schema = pa.schema([pa.field("image_id", pa.string(), metadata=metadata)])
    pa.parquet.write_table(pa.table({"image_id": ["a"]}, schema), attack / "regions-00000-of-00001.parquet")
    assert_nothing_runs(attack, lambda: read_regions(attack))


def test_checkpoint_of_a_stranger_is_resumed_without_running_it(attack):
    build_trainer(attack / "run", max_steps=2).train()
    checkpoint = attack / "run" / "checkpoint-2"
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
        kept = (checkpoint / name).read_bytes()
        (checkpoint / name).write_bytes((attack / "evil.pth").read_bytes())
        write_manifest(checkpoint, run=1, step=2)
        assert_nothing_runs(
            attack, lambda: build_trainer(attack / "run", max_steps=4).train(resume_from_checkpoint=str(checkpoint))
        )
        (checkpoint / name).write_bytes(kept)


def test_detector_of_a_processor_stays_in_its_folder(attack):
    with pytest.raises(ValueError, match="is not in the processor's own folder"):
        MLMMProcessor(AutoTokenizer.from_pretrained(attack / "mlmm"), detector="./../elsewhere")


SIZES = {
    "brivl": ("text_config__num_hidden_layers", "vision_config__image_size", "vision_config__hidden_size", "queue_size",
              "text_config__encoder_config__vocab_size", "text_config__encoder_config__num_hidden_layers", "num_labels",
              "vision_config__backbone_kwargs__channel_multiplier", "vision_config__num_labels"),
    "mlmm": ("vocab_size", "hidden_size", "num_hidden_layers", "num_labels", "max_position_embeddings"),
    "detector": ("fc_dim", "num_objects", "res2_channels", "num_attributes", "num_labels", "post_nms_top_n"),
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_sizes_without_measure_are_refused_at_once(name, attack):
    original = (attack / name / "config.json").read_text()
    for field in SIZES[name]:
        for value in (10**12, float("inf"), float("nan")):
            (attack / name / "config.json").write_text(original)
            change(attack / name, "config.json", **{field: value})
            with pytest.raises(REFUSED, match=field.rsplit("__")[-1]):
                AutoConfig.from_pretrained(attack / name)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("brivl", {"size": {"height": 10**6, "width": 10**6}}),
        ("brivl", {"max_regions": 10**9}),
        ("detector", {"size": {"shortest_edge": 10**6, "longest_edge": 10**6}}),
        ("detector", {"size_divisibility": 10**6}),
        ("detector", {"pad_size": {"height": 10**6, "width": 10**6}}),
    ],
)
def test_images_are_not_made_larger_than_any_memory(name, fields, attack):
    with pytest.raises(ValueError, match=r"at most (8192|10000)"):
        AutoImageProcessor.from_pretrained(attack / name, **fields)


def test_grid_of_many_cells_and_anchors_are_refused():
    with pytest.raises(StrictDataclassError, match="cells; at most"):
        BriVLConfig(vision_config={"grid_scales": [10**4]})
    with pytest.raises(StrictDataclassError, match="anchors a cell"):
        RegionDetectorConfig(anchor_sizes=[[8] * 500])


def test_oldest_timm_that_is_admitted_does_not_unpickle(attack):
    """`torch.load` of timm's `load_checkpoint` runs nothing from 1.0.31 on, whatever a recipe names."""
    import timm
    from timm.models import load_checkpoint

    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    bound = re.search(r"timm >= ([\d.]+)", config["options"]["install_requires"])[1]
    assert tuple(map(int, bound.split("."))) >= (1, 0, 31)
    with pytest.raises(RuntimeError, match="weights_only=True blocked"):
        load_checkpoint(timm.create_model("test_efficientnet"), str(attack / "evil.pth"))
    assert not (attack / "marker").exists()
