import math

import pytest
import torch
from helpers.perturb import perturb
from helpers.regions.tiny_detector import KINDS, tiny_detector, tiny_labels
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import AutoModel, AutoModelForObjectDetection
from wenlan.modeling_region_detector import RegionDetector

import wenlan  # noqa: F401  makes the Auto classes know the detector

PIXELS = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_shapes_are_as_documented(kind):
    model = tiny_detector(kind)
    config = model.config
    output = model(PIXELS)
    count = output.proposal_mask.shape[1]
    assert 0 < count <= config.post_nms_top_n
    assert output.logits.shape == (2, count, 4)
    assert output.pred_boxes.shape == (2, count, 4 if config.background_first else 3, 4)
    assert output.proposals.shape == (2, count, 4)
    assert output.features.shape == (2, count, config.feature_dim)
    assert output.image_sizes.tolist() == [[64, 96], [64, 96]]
    if config.num_attributes:
        assert output.attribute_logits.shape == (2, count, 3)
    else:
        assert output.attribute_logits is None


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_saved_and_loaded_gives_bitwise_the_same(kind, tmp_path):
    model = perturb(tiny_detector(kind), scale=0.01)
    model.save_pretrained(tmp_path)
    for auto in (AutoModelForObjectDetection, AutoModel):
        loaded = auto.from_pretrained(tmp_path)
        assert type(loaded) is RegionDetector
        assert torch.equal(loaded(PIXELS).features, model(PIXELS).features)
        assert torch.equal(loaded(PIXELS).pred_boxes, model(PIXELS).pred_boxes)


@torch.inference_mode()
def test_buffers_of_timm_that_no_checkpoint_holds_come_back(tmp_path):
    model = tiny_detector("timm", backbone="efficientvit_m0", timm_out_indices=[0, 1, 2])
    unsaved = dict(model.named_non_persistent_buffers())
    assert any("attention_bias_idxs" in name for name in unsaved)
    model.save_pretrained(tmp_path)
    loaded = RegionDetector.from_pretrained(tmp_path)
    found = dict(loaded.named_non_persistent_buffers())
    assert all(torch.equal(found[name], buffer) for name, buffer in unsaved.items())
    assert torch.equal(loaded(PIXELS).features, model(PIXELS).features)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_attributes": 5}, "attribute_names has 2 names for num_attributes=5"),
        ({"pooler": "roi_pull"}, "pooler is 'roi_pull'"),
    ],
)
def test_changes_that_do_not_fit_are_refused_when_the_model_is_opened(given, message, tmp_path):
    tiny_detector("bua", attribute_names=["red", "big"]).save_pretrained(tmp_path)
    with pytest.raises(StrictDataclassError, match=message):
        RegionDetector.from_pretrained(tmp_path, ignore_mismatched_sizes=True, **given)


def test_checkpoint_without_some_weights_is_refused_with_their_names(tmp_path):
    model = tiny_detector("d2-c4")
    state = {k: v for k, v in model.state_dict().items() if "bbox_pred" not in k}
    model.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(ValueError, match=r"lacks 2 weights of RegionDetector: roi_heads.box_predictor.bbox_pred.bias"):
        RegionDetector.from_pretrained(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_that_is_not_frozen_gets_a_gradient(kind):
    model = tiny_detector(kind).train()
    model(PIXELS, labels=tiny_labels(model.config.num_attributes > 0)).loss.backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert frozen != []
    assert all("stem" in name or "res2" in name or "bn1" in name or "blocks.0" in name for name in frozen)


def test_frozen_weights_stay_frozen_after_loading(tmp_path):
    model = tiny_detector("timm")
    model.save_pretrained(tmp_path)
    loaded = RegionDetector.from_pretrained(tmp_path)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert {name for name, p in loaded.named_parameters() if not p.requires_grad} == frozen != set()


def test_frozen_block_1_is_not_block_11():
    model = tiny_detector("timm", frozen_backbone=["blocks.1", "blocks.10"])
    frozen = {name.split("body.")[1][:8] for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"blocks.1"}
    assert not any(name.split(".")[0] == "blocks" and name.split(".")[1] != "1" for name in frozen)


def test_training_gives_the_losses_alone():
    model = tiny_detector("timm").train()
    output = model(PIXELS, labels=tiny_labels())
    assert set(output.loss_dict) == {"loss_rpn_cls", "loss_rpn_loc", "loss_cls", "loss_box_reg", "loss_attribute"}
    assert output.loss == sum(output.loss_dict.values())
    assert output.logits is None


@torch.inference_mode()
def test_evaluation_with_labels_gives_losses_and_detections():
    output = tiny_detector("timm")(PIXELS, labels=tiny_labels())
    assert output.loss.isfinite()
    assert output.logits is not None


@pytest.mark.parametrize("kind", KINDS)
def test_images_without_objects_train(kind):
    model = tiny_detector(kind).train()
    empty = tiny_labels(model.config.num_attributes > 0)[1]
    loss = model(PIXELS, labels=[empty, empty]).loss
    loss.backward()
    assert loss.isfinite()
    assert model.roi_heads.box_predictor.cls_score.weight.grad.abs().max() > 0


@pytest.mark.parametrize("kind", ["bua", "timm"])
def test_statistics_of_batch_norms_stay_while_training(kind):
    model = tiny_detector(kind).train()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model(PIXELS, labels=tiny_labels()).loss.backward()
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())


@pytest.mark.slow
def test_a_few_steps_learn_one_image():
    model = tiny_detector("timm", rpn_batch_size=32, roi_batch_size=16).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    labels = tiny_labels()
    losses = []
    for _ in range(40):
        loss = model(PIXELS, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_boxes_stay_inside_the_image_and_out_of_the_padding(kind):
    model = tiny_detector(kind)
    mask = torch.zeros(2, 64, 96, dtype=torch.long)
    mask[0, :40, :50] = 1
    mask[1] = 1
    scales = torch.tensor([[0.5, 0.5], [1.0, 1.0]])
    output = model(PIXELS * mask[:, None], pixel_mask=mask, image_scales=scales)
    assert output.image_sizes.tolist() == [[80, 100], [64, 96]]
    for boxes in (output.proposals[0], output.pred_boxes[0].flatten(0, 1)):
        assert boxes.min() >= 0
        assert boxes[:, [0, 2]].max() <= 100
        assert boxes[:, [1, 3]].max() <= 80


@torch.inference_mode()
def test_given_boxes_come_back_in_their_order():
    boxes = [torch.tensor([[4.0, 4, 90, 60], [1, 1, 20, 20]]), torch.tensor([[5.0, 5, 50, 50]])]
    output = tiny_detector("timm")(PIXELS, boxes=boxes)
    assert torch.equal(output.proposals[0], boxes[0])
    assert output.proposal_mask.tolist() == [[1, 1], [1, 0]]
    assert output.proposal_scores[0].tolist() == [1, 1]


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_no_boxes_at_all_are_allowed(kind):
    output = tiny_detector(kind)(PIXELS, boxes=[torch.zeros(0, 4), torch.zeros(0, 4)])
    assert output.features.shape[:2] == (2, 0)


@torch.inference_mode()
def test_numbers_that_are_not_finite_give_no_proposals():
    output = tiny_detector("timm")(torch.full_like(PIXELS, math.nan))
    assert output.proposal_mask.sum() == 0


@pytest.mark.parametrize(("name", "given"), [("boxes", [torch.zeros(1, 4)]), ("labels", tiny_labels()[:1])])
def test_too_few_boxes_or_labels_are_refused(name, given):
    with pytest.raises(ValueError, match=f"1 {name} were given for 2 images"):
        tiny_detector("timm")(PIXELS, **{name: given})


@torch.inference_mode()
def test_tuple_is_returned_on_request():
    output = tiny_detector("timm")(PIXELS, return_dict=False)
    assert isinstance(output, tuple)


@torch.inference_mode()
def test_parts_of_the_boxes_at_a_time_give_the_same_features(monkeypatch):
    model = tiny_detector("bua")
    expected = model(PIXELS).features
    monkeypatch.setattr("wenlan.modeling_region_detector.roi_heads.BOXES_AT_A_TIME", 7)
    torch.testing.assert_close(model(PIXELS).features, expected)


@pytest.mark.parametrize("variant", ["bua", "d2-c4", "d2-fpn", "lxmert"])
def test_published_size_builds(variant):
    from wenlan.modeling_region_detector import RegionDetectorConfig

    with torch.device("meta"):
        model = RegionDetector(RegionDetectorConfig.from_variant(variant))
    head = model.roi_heads.box_predictor
    assert isinstance(head.cls_score, nn.Linear)
    assert head.cls_score.in_features == {"d2-fpn": 1024}.get(variant, 2048)
