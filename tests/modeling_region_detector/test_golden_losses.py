"""The losses of the whole detector, from the image on, against those of the original code."""

import pytest
import torch
from helpers.regions.golden import d2_inputs, golden_detector, read_tensors
from torch.testing import assert_close

LOSSES = ["loss_rpn_cls", "loss_rpn_loc", "loss_cls", "loss_box_reg"]


def train_inputs(case, golden):
    labels = [{"boxes": golden[f"gt_boxes.{i}"], "class_labels": golden[f"gt_classes.{i}"]} for i in range(2)]
    return d2_inputs(case, golden) | {"labels": labels}


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("case", ["d2_c4", "d2_fpn"])
def test_losses_equal_the_original(case, mode):
    golden = read_tensors(case)
    model = getattr(golden_detector(case), mode)()
    output = model(**train_inputs(case, golden))
    assert set(output.loss_dict) == set(LOSSES)
    for name in LOSSES:
        assert_close(output.loss_dict[name], golden[f"loss.{name}"], atol=0, rtol=1e-5)
    assert_close(output.loss, sum(golden[f"loss.{name}"] for name in LOSSES), atol=0, rtol=1e-5)


def test_gradient_reaches_every_weight_that_trains():
    model = golden_detector("d2_fpn").train()
    model(**train_inputs("d2_fpn", read_tensors("d2_fpn"))).loss.backward()
    still = [name for name, p in model.named_parameters() if p.requires_grad and not p.grad.abs().sum() > 0]
    assert still == []


@pytest.mark.parametrize("case", ["d2_c4", "d2_fpn", "bua"])
def test_image_without_ground_truth_trains(case):
    model = golden_detector(case).train()
    empty = {"boxes": torch.zeros(0, 4), "class_labels": torch.zeros(0, dtype=torch.long)}
    output = model(torch.randn(1, 3, 64, 96), labels=[empty])
    output.loss.backward()
    assert output.loss.isfinite()
    assert output.loss_dict["loss_box_reg"] == 0


def test_attributes_of_the_ground_truth_train_their_head():
    model = golden_detector("bua").train()
    label = {"boxes": torch.tensor([[8.0, 8.0, 60.0, 50.0]]), "class_labels": torch.tensor([3])}
    pixel_values = torch.randn(1, 3, 64, 96)
    without = model(pixel_values, labels=[label | {"attributes": torch.tensor([[-1, -1]])}])
    assert without.loss_dict["loss_attribute"] == 0
    output = model(pixel_values, labels=[label | {"attributes": torch.tensor([[2, -1]])}])
    output.loss_dict["loss_attribute"].backward()
    assert model.roi_heads.box_predictor.attr_linear2.bias.grad[3] < 0  # "no attribute" is the first column
