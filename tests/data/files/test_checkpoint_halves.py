"""Float32 weights in half the space; the same bits after `from_pretrained`."""

import pytest
import torch
from helpers.brivl.tiny import tiny_config
from safetensors.torch import load_file
from transformers import AutoModel, BertConfig, BertForMaskedLM, BertModel
from wenlan.data.files.checkpoint import exact_halves
from wenlan.modeling_brivl import BriVLModel

SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12, "vocab_size": 30}


def bits(state):
    return {name: value.view(torch.int32).tolist() if value.is_floating_point() else value.tolist()
            for name, value in state.items()}  # fmt: skip


def rounded(model, part=""):
    with torch.no_grad():
        for parameter in model.get_submodule(part).parameters():
            parameter.copy_(parameter.half())
    return model


@pytest.mark.parametrize(
    ("values", "is_halved"),
    [
        ([0.0, -0.0, 1.5, -65504.0], True),
        ([6e-8, 2.0**-24, 2.0**-14], False),  # 6e-8 is none of float16's smallest numbers
        ([2.0**-24, -(2.0**-24)], True),
        ([65520.0], False),  # would be infinite
        ([0.1], False),
        ([1e-30], False),  # would be zero
        ([float("inf"), -1.0], True),
        ([float("nan")], False),
    ],
)
def test_only_what_float16_holds_exactly_is_stored_as_float16(values, is_halved):
    tensor = torch.tensor(values)
    stored = exact_halves({"a": tensor})["a"]
    assert stored.dtype == (torch.float16 if is_halved else torch.float32)
    assert bits({"a": stored.float()}) == bits({"a": tensor})


def test_other_types_and_the_given_state_are_left_as_they_are():
    state = {
        "count": torch.tensor([3]),
        "double": torch.ones(2, dtype=torch.float64),
        "brain": torch.ones(2).bfloat16(),
    }
    given = {**state, "one": torch.ones(2)}
    halved = exact_halves(given)
    assert {name: halved[name] is state[name] for name in state} == dict.fromkeys(state, True)
    assert given["one"].dtype == torch.float32
    assert list(halved) == list(given)


def test_bert_opens_in_float32_with_the_same_bits_from_half_the_space(tmp_path):
    model = rounded(BertModel(BertConfig(**SIZES), add_pooling_layer=False))
    model.save_pretrained(tmp_path, state_dict=exact_halves(model.state_dict()))
    assert {value.dtype for value in load_file(tmp_path / "model.safetensors").values()} == {torch.float16}
    opened = AutoModel.from_pretrained(tmp_path, add_pooling_layer=False)
    assert (opened.dtype, opened.config.dtype) == (torch.float32, torch.float32)
    assert bits(opened.state_dict()) == bits(model.state_dict())


def test_brivl_of_rounded_encoder_and_trained_head_keeps_its_bits(tmp_path):
    model = rounded(BriVLModel(tiny_config()), "text_model.backbone")
    model.save_pretrained(tmp_path, state_dict=exact_halves(model.state_dict()))
    stored = load_file(tmp_path / "model.safetensors")
    assert {stored[name].dtype for name in stored if name.startswith("text_model.backbone.")} == {torch.float16}
    assert {value.dtype for value in stored.values()} >= {torch.float16, torch.float32}
    opened = AutoModel.from_pretrained(tmp_path)
    assert {parameter.dtype for parameter in opened.parameters()} == {torch.float32}
    assert bits(opened.state_dict()) == bits(model.state_dict())


def test_tied_weights_are_stored_once(tmp_path):
    model = rounded(BertForMaskedLM(BertConfig(**SIZES)))
    halved = exact_halves(model.state_dict())
    assert halved["cls.predictions.decoder.weight"].data_ptr() == (
        halved["bert.embeddings.word_embeddings.weight"].data_ptr()
    )
    model.save_pretrained(tmp_path, state_dict=halved)
    assert "cls.predictions.decoder.weight" not in load_file(tmp_path / "model.safetensors")
    assert bits(BertForMaskedLM.from_pretrained(tmp_path).state_dict()) == bits(model.state_dict())
