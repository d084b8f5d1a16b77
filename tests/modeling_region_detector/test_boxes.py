import pytest
import torch
from helpers.regions.golden import read_tensors
from wenlan.modeling_region_detector.boxes import clip_boxes, decode_boxes, encode_boxes, nms

OPS = read_tensors("ops")
WEIGHTS = {"1x1x1x1": (1, 1, 1, 1), "10x10x5x5": (10, 10, 5, 5)}
PLUS_ONE = {"d2": False, "bua": True}


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("convention", PLUS_ONE)
def test_decoding_equals_the_original(convention, weights):
    deltas = OPS["deltas"].reshape(60, 3, 4)
    boxes = decode_boxes(deltas, OPS["boxes"][:, None], weights=WEIGHTS[weights], plus_one=PLUS_ONE[convention])
    torch.testing.assert_close(boxes.reshape(60, 12), OPS[f"decode_{convention}_{weights}"], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("convention", PLUS_ONE)
def test_encoding_equals_the_original(convention, weights):
    # One of the golden targets is a reversed box, whose width has no logarithm.
    deltas = encode_boxes(OPS["boxes"][:6], OPS["gt"], weights=WEIGHTS[weights], plus_one=PLUS_ONE[convention])
    torch.testing.assert_close(deltas, OPS[f"encode_{convention}_{weights}"], atol=1e-5, rtol=1e-5, equal_nan=True)


@pytest.mark.parametrize("convention", PLUS_ONE)
def test_clipping_equals_the_original(convention):
    clipped = clip_boxes(OPS["boxes"], 180, 210, plus_one=PLUS_ONE[convention])
    torch.testing.assert_close(clipped, OPS[f"clip_{convention}_180x210"], atol=0, rtol=0)


@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_suppression_with_plus_one_equals_the_original(threshold):
    kept = nms(OPS["boxes"], OPS["scores"], threshold, plus_one=True)
    assert kept.sort().values.tolist() == OPS[f"nms_plus_one_{threshold}"].tolist()


def test_suppression_returns_the_best_first():
    kept = nms(OPS["boxes"], OPS["scores"], 0.3, plus_one=True)
    assert OPS["scores"][kept].diff().max() <= 0


def test_boxes_of_different_groups_do_not_suppress_one_another():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]])
    kept = nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5, groups=torch.tensor([0, 1, 0]), plus_one=False)
    assert kept.tolist() == [0, 1]


def test_decoding_undoes_encoding():
    reference, boxes = OPS["boxes"][3:6], OPS["gt"][3:]
    deltas = encode_boxes(reference, boxes, weights=(10, 10, 5, 5), plus_one=False)
    again = decode_boxes(deltas, reference, weights=(10, 10, 5, 5), plus_one=False)
    torch.testing.assert_close(again, boxes, atol=1e-3, rtol=1e-5)


def test_an_enormous_delta_stays_finite():
    boxes = decode_boxes(torch.full((1, 4), 1e4), torch.tensor([[0.0, 0, 16, 16]]), weights=(1,) * 4, plus_one=True)
    assert boxes.isfinite().all()
