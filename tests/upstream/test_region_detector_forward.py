"""The detector's forward pass held against what any model of transformers takes and returns."""

import math

import pytest
import torch
from helpers.regions.tiny_detector import KINDS, tiny_detector, tiny_labels

PIXELS = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
STRIDES = {"bua": [4, 8, 16], "d2-c4": [4, 8, 16], "d2-fpn": [4, 8, 16, 32, 64], "timm": [8, 16, 32]}


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_states_are_the_maps_of_the_backbone(kind):
    model = tiny_detector(kind)
    output = model(PIXELS, output_hidden_states=True)
    assert [tuple(x.shape) for x in output.hidden_states] == [
        (2, channels, math.ceil(64 / stride), math.ceil(96 / stride))
        for channels, stride in zip(model.backbone.channels, STRIDES[kind], strict=True)
    ]
    assert all(torch.equal(*pair) for pair in zip(output.hidden_states, model.backbone(PIXELS), strict=True))
    assert model(PIXELS).hidden_states is None


def test_hidden_states_come_by_the_configuration_too_and_the_keyword_goes_before_it():
    model = tiny_detector("d2-fpn")
    model.config.output_hidden_states = True
    assert len(model(PIXELS).hidden_states) == 5
    assert model(PIXELS, output_hidden_states=False).hidden_states is None
    assert len(model.train()(PIXELS, labels=tiny_labels(False)).hidden_states) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_of_the_logits_reaches_the_hidden_states(kind):
    output = tiny_detector(kind, frozen_backbone=[])(PIXELS, output_hidden_states=True)
    output.hidden_states[0].retain_grad()  # the last map of a pyramid only proposes
    output.logits.sum().backward()
    assert output.hidden_states[0].grad is not None


@pytest.mark.parametrize("kind", KINDS)
def test_tuple_holds_what_the_output_holds_in_its_order(kind):
    model = tiny_detector(kind)
    expected = model(PIXELS, output_hidden_states=True)
    given = model(PIXELS, output_hidden_states=True, return_dict=False)
    assert len(given) == len(expected.to_tuple()) == len(expected)
    assert torch.equal(given[0], expected.logits)
    assert all(torch.equal(*pair) for pair in zip(given[-1], expected.hidden_states, strict=True))
    model.config.return_dict = False
    assert torch.equal(model(PIXELS)[0], expected.logits)


@pytest.mark.parametrize("keyword", ["output_attentions", "num_items_in_batch", "use_cache"])
def test_keywords_of_any_model_of_transformers_are_taken(keyword):
    model = tiny_detector("timm")
    assert torch.equal(model(PIXELS, **{keyword: None}).logits, model(PIXELS).logits)


@pytest.mark.parametrize("keyword", ["pixel_vales", "input_ids", "output_hidden_state"])
def test_other_keywords_are_refused_by_name(keyword):
    with pytest.raises(TypeError, match=f"'{keyword}'"):
        tiny_detector("timm")(PIXELS, **{keyword: True})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_pixels_are_cast_to_the_dtype_of_the_weights(kind, dtype, tmp_path):
    model = tiny_detector(kind)
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path, dtype=dtype)
    output = loaded(PIXELS, output_hidden_states=True)
    assert {x.dtype for x in output.hidden_states} == {dtype}
    assert torch.equal(output.logits, loaded(PIXELS.to(dtype)).logits)
    assert output.logits.dtype == output.pred_boxes.dtype == output.features.dtype == torch.float32
    assert output.logits.isfinite().all()


@torch.no_grad()
def test_pixels_of_other_dtypes_are_cast_to_float32_weights():
    model = tiny_detector("bua")
    whole = (PIXELS * 20).round().clamp(0, 255)
    expected = model(whole).logits
    for dtype in (torch.uint8, torch.float64, torch.float16):
        assert torch.equal(model(whole.to(dtype)).logits, expected)


def test_half_precision_trains_on_float32_pixels():
    model = tiny_detector("timm").to(torch.bfloat16).train()
    loss = model(PIXELS, labels=tiny_labels()).loss
    loss.backward()
    assert loss.isfinite()
    assert model.roi_heads.box_predictor.cls_score.weight.grad.isfinite().all()
