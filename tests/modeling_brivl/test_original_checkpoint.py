"""Names and shapes of original checkpoints; the weights themselves are compared in tests/training_scripts."""

import pytest
import timm
import torch
from helpers.brivl.golden import our_config, read_golden
from torch import nn
from transformers import BertConfig, BertModel
from wenlan.modeling_brivl import BriVLConfig, BriVLModel, convert_original_checkpoint
from wenlan.modeling_brivl.original_checkpoint import convert_tower

TENSORS, META = read_golden("boxes")
WHOLE = {key.removeprefix("ckpt."): tensor for key, tensor in TENSORS.items() if key.startswith("ckpt.")}
TOWERS = {key.removeprefix("learnable."): tensor for key, tensor in WHOLE.items() if key.startswith("learnable.")}
LAYOUTS = {
    "released": {"learnable": TOWERS},
    "whole model": WHOLE,
    "released, several GPUs": {"learnable": {f"module.{key}": tensor for key, tensor in TOWERS.items()}},
    "whole model, several GPUs": {f"module.{key}": tensor for key, tensor in WHOLE.items()},
    "towers alone": TOWERS,
    "with training state": {"learnable": TOWERS, "epoch": 3, "optimizer": {"state": {}}},
    "old BERT names": {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for key, tensor in TOWERS.items()
    },
}
FC1 = "imgencoder.learnable.imgFC.fc1.weight"


@pytest.fixture(scope="module")
def expected():
    with torch.device("meta"):
        return BriVLModel(our_config(META)).state_dict()


def changed(changes):
    """Returns the towers with some entries changed; None takes one out."""
    return {key: tensor for key, tensor in {**TOWERS, **changes}.items() if tensor is not None}


def message(checkpoint, expected, **options):
    with pytest.raises(ValueError, match=r".") as error:
        convert_original_checkpoint(checkpoint, expected, **options)
    return str(error.value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_query_towers(layout, expected):
    converted = convert_original_checkpoint(LAYOUTS[layout], expected)
    image = {key.removeprefix("imgencoder."): x for key, x in TOWERS.items() if key.startswith("imgencoder.")}
    text = {key.removeprefix("textencoder."): x for key, x in TOWERS.items() if key.startswith("textencoder.")}
    towers = {f"vision_model.{name}": tensor for name, tensor in convert_tower(image).items()}
    towers |= {f"text_model.{name}": tensor for name, tensor in convert_tower(text).items()}
    assert converted.query.keys() == towers.keys() == expected.keys()
    assert [name for name, tensor in towers.items() if not torch.equal(converted.query[name], tensor)] == []
    assert converted.momentum == converted.queue == {}


def test_dropped_entries_are_counted_by_kind(expected):
    assert convert_original_checkpoint(LAYOUTS["with training state"], expected).dropped == {
        "CNN classifier": 4,
        "BERT pooler": 4,
        "BERT position ids": 2,
        "momentum towers": len(expected),
        "epoch, no tensor": 1,
        "optimizer, no tensor": 1,
    }


def test_queue_of_a_whole_model_is_dropped_without_momentum(expected):
    assert convert_original_checkpoint(WHOLE, expected).dropped["queue"] == 4


def test_momentum_towers_and_queue_convert_when_asked_for(expected):
    converted = convert_original_checkpoint(WHOLE, expected, with_momentum=True)
    assert converted.momentum.keys() == {f"momentum_{name}" for name in expected}
    original = TOWERS["imgencoder_mom.learnable.imgFC.fc2.bias"]
    assert torch.equal(converted.momentum["momentum_vision_model.encoder.fc2.bias"], original)
    assert torch.equal(converted.queue["queue.image_keys"], WHOLE["img_queue"].T)
    assert torch.equal(converted.queue["queue.text_keys"], WHOLE["text_queue"].T)
    assert converted.queue["queue.group_ids"].tolist() == [-1] * WHOLE["img_queue"].shape[1]
    assert converted.queue["queue.position"].item() == WHOLE["img_queue_ptr"].item()
    assert "queue" not in converted.dropped


def test_released_layout_has_momentum_towers_and_no_queue(expected):
    converted = convert_original_checkpoint({"learnable": TOWERS}, expected, with_momentum=True)
    assert len(converted.momentum) == len(expected)
    assert converted.queue == {}


def test_all_problems_are_named_in_one_error(expected):
    state = changed({FC1: TOWERS[FC1][:5], "imgencoder.extra": torch.zeros(2, 3), "head.weight": torch.zeros(4)})
    del state["textencoder.learnable.textFC.fc2.bias"]
    del state["textencoder.backbone.bert.encoder.layer.0.output.dense.weight"]
    assert message(state, expected).splitlines()[1:] == [
        "  unknown: imgencoder.extra (2, 3)",
        "  unknown: head.weight (4,)",
        "  missing: text_model.backbone.encoder.layer.0.output.dense.weight",
        "  missing: text_model.encoder.fc2.bias",
        "  shape: vision_model.encoder.fc1.weight is (5, 32), the configuration says (32, 32)",
    ]


def test_unknown_key_of_a_dropped_momentum_tower_is_named(expected):
    assert "unknown: imgencoder_mom.extra (2,)" in message(changed({"imgencoder_mom.extra": torch.zeros(2)}), expected)


def test_unknown_key_that_looks_unused_is_still_unknown(expected):
    key = "detector.backbone.classifier.weight"
    assert f"unknown: {key} (2,)" in message(changed({key: torch.zeros(2)}), expected)


def test_incomplete_momentum_tower_matters_only_when_it_is_converted(expected):
    state = changed({FC1.replace("imgencoder", "imgencoder_mom"): None})
    assert convert_original_checkpoint(state, expected).query
    assert "missing: momentum_vision_model.encoder.fc1.weight" in message(state, expected, with_momentum=True)


def test_checkpoint_without_momentum_towers_says_so_once(expected):
    state = {key: tensor for key, tensor in TOWERS.items() if "_mom." not in key}
    lines = message(state, expected, with_momentum=True).splitlines()[1:]
    assert len(lines) == 1
    assert "convert without them" in lines[0]


def test_entry_with_and_without_a_wrapper_is_refused(expected):
    assert f"twice: {FC1}" in message(changed({f"module.{FC1}": TOWERS[FC1]}), expected)


@pytest.mark.parametrize("checkpoint", [{}, {"state_dict": {}, "epoch": 1}, {"model.weight": torch.zeros(2)}])
def test_another_models_checkpoint_is_one_line_with_its_first_keys(checkpoint, expected):
    text = message(checkpoint, expected)
    assert "no BriVL checkpoint" in text
    assert ", ".join(checkpoint) in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("img_queue", None, "missing: img_queue"),
        ("text_queue_ptr", None, "missing: text_queue_ptr"),
        ("text_queue", torch.zeros(32, 7), "shape: text_queue is (32, 7), expected (32, 24)"),
        ("img_queue_ptr", torch.tensor([99]), "not filled in lockstep: img_queue_ptr 99, text_queue_ptr"),
        ("img_queue_ptr", torch.tensor(0), "shape: img_queue_ptr is (), expected (1,)"),
    ],
)
def test_queue_that_does_not_fit_is_refused(key, value, problem, expected):
    state = {name: tensor for name, tensor in {**WHOLE, key: value}.items() if tensor is not None}
    assert problem in message(state, expected, with_momentum=True)


def original_encoders(config):
    """Returns the state dicts of the original's image and text encoder, built of the same library parts, on "meta"."""
    width, text_width = config.vision_config.hidden_size, config.text_config.hidden_size

    def head(name, dim):
        layer = nn.TransformerEncoderLayer(dim, nhead=4, dim_feedforward=2048)
        return {
            f"{name}Att": nn.TransformerEncoder(layer, num_layers=4, enable_nested_tensor=False),
            f"{name}FC": nn.ModuleDict({"fc1": nn.Linear(dim, width), "fc2": nn.Linear(width, width)}),
        }

    with torch.device("meta"):
        backbone = timm.create_model(config.vision_config.backbone, num_classes=1000)
        pooling = nn.Sequential(nn.Conv2d(width, width, 1))
        image = {"backbone": backbone, "learnable": nn.ModuleDict({"max_pool": pooling, **head("img", width)})}
        bert = nn.ModuleDict({"bert": BertModel(BertConfig(**config.text_config.encoder_config.to_dict()))})
        text = {"backbone": bert, "learnable": nn.ModuleDict(head("text", text_width))}
    return nn.ModuleDict(image).state_dict(), nn.ModuleDict(text).state_dict()


@pytest.mark.parametrize(
    ("variant", "keys"), [("1.0", (908, 251)), ("nmi", (908, 251)), ("2.0", (1254, 443))], ids=["1.0", "nmi", "2.0"]
)
def test_every_key_of_a_checkpoint_of_full_size_finds_its_place(variant, keys):
    """The numbers of keys were counted on the original classes."""
    config = BriVLConfig.from_variant(variant)
    image, text = original_encoders(config)
    assert (len(image), len(text)) == keys
    checkpoint = {}
    for suffix in ("", "_mom"):
        checkpoint |= {f"imgencoder{suffix}.{key}": tensor for key, tensor in image.items()}
        checkpoint |= {f"textencoder{suffix}.{key}": tensor for key, tensor in text.items()}
    with torch.device("meta"):
        expected = BriVLModel(config).state_dict()
    converted = convert_original_checkpoint({"learnable": checkpoint}, expected, with_momentum=True)
    assert converted.query.keys() == expected.keys()
    assert converted.dropped == {"CNN classifier": 4, "BERT pooler": 4}
    assert len(checkpoint) == len(converted.query) + len(converted.momentum) + converted.dropped.total()
