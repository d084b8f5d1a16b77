import pytest
import torch
import torch.nn.functional as F
from helpers.regions.golden import CHANGES, golden_anchors, read_tensors
from torch.testing import assert_close
from wenlan.modeling_region_detector.configuration_region_detector import RegionDetectorConfig
from wenlan.modeling_region_detector.losses import attribute_loss, head_losses, rpn_losses, sample_proposals

CASES = ["d2_c4", "d2_fpn"]


def small_config(**changes):
    """A detector of five classes and three attributes; the background is last unless told otherwise."""
    return RegionDetectorConfig.from_variant("d2-c4", {"num_objects": 5, "num_attributes": 3} | changes)


def flat(tensor, width):
    """(B, A * width, H, W) to (B, H * W * A, width), as the anchors are ordered."""
    b, channels, h, w = tensor.shape
    return tensor.view(b, channels // width, width, h, w).permute(0, 3, 4, 1, 2).reshape(b, -1, width)


def golden_rpn(case):
    """Anchors, objectness, deltas, labels and configuration of a golden case, whose samples hold every box."""
    tensors = read_tensors(case)
    levels = len([key for key in tensors if key.startswith("rpn_logits.")])
    objectness = torch.cat([flat(tensors[f"rpn_logits.{level}"], 1) for level in range(levels)], dim=1)[..., 0]
    deltas = torch.cat([flat(tensors[f"rpn_deltas.{level}"], 4) for level in range(levels)], dim=1)
    labels = [{"boxes": tensors[f"gt_boxes.{i}"], "class_labels": tensors[f"gt_classes.{i}"]} for i in range(2)]
    config = RegionDetectorConfig.from_variant(case.replace("_", "-"), CHANGES[case])
    return golden_anchors(case, tensors), objectness, deltas, labels, config, tensors


@pytest.mark.parametrize("case", CASES)
def test_rpn_losses_are_those_of_the_reference(case):
    *inputs, tensors = golden_rpn(case)
    losses = rpn_losses(*inputs)
    assert set(losses) == {"loss_rpn_cls", "loss_rpn_loc"}
    for name, loss in losses.items():
        assert_close(loss, tensors[f"loss.{name}"], atol=0, rtol=1e-5)


def test_rpn_gradient_reaches_only_the_sampled_anchors():
    anchors, objectness, deltas, labels, config, _ = golden_rpn("d2_c4")
    objectness.requires_grad_()
    deltas.requires_grad_()
    config.rpn_batch_size = 32
    sum(rpn_losses(anchors, objectness, deltas, labels, config).values()).backward()
    assert (objectness.grad != 0).sum(dim=1).tolist() == [32, 32]
    assert (deltas.grad != 0).any(dim=-1).sum(dim=1).max() <= 16


def test_images_without_ground_truth_give_a_loss_and_a_graph():
    anchors, objectness, deltas, _, config, _ = golden_rpn("d2_c4")
    deltas.requires_grad_()
    empty = [{"boxes": torch.zeros(0, 4), "class_labels": torch.zeros(0, dtype=torch.long)}] * 2
    losses = rpn_losses(anchors, objectness, deltas, empty, config)
    losses["loss_rpn_loc"].backward()
    assert losses["loss_rpn_cls"] > 0
    assert losses["loss_rpn_loc"] == 0
    assert deltas.grad.abs().sum() == 0


GT_BOXES = torch.tensor([[10.0, 10.0, 50.0, 50.0], [60.0, 60.0, 90.0, 95.0]])
LABEL = {"boxes": GT_BOXES, "class_labels": torch.tensor([4, 2])}
PROPOSALS = torch.tensor([[12.0, 10.0, 50.0, 52.0], [0.0, 0.0, 9.0, 9.0], [60.0, 60.0, 88.0, 90.0]])


@pytest.mark.parametrize(("background_first", "columns"), [(False, [4, 2, 4, 2, 5]), (True, [5, 3, 5, 3, 0])])
def test_sample_holds_the_proposals_and_the_ground_truth_positives_first(background_first, columns):
    (sample,) = sample_proposals([PROPOSALS], [LABEL], small_config(background_first=background_first))
    assert sample["class_labels"].tolist() == columns
    assert torch.equal(sample["boxes"], torch.cat([PROPOSALS[[0, 2]], GT_BOXES, PROPOSALS[[1]]]))
    assert torch.equal(sample["gt_boxes"][:4], GT_BOXES[[0, 1, 0, 1]])


def test_sample_of_a_image_without_ground_truth_is_background():
    empty = {"boxes": torch.zeros(0, 4), "class_labels": torch.zeros(0, dtype=torch.long)}
    (sample,) = sample_proposals([PROPOSALS], [empty], small_config())
    assert sample["class_labels"].tolist() == [5, 5, 5]


def test_attributes_follow_their_box_and_background_has_none():
    label = LABEL | {"attributes": torch.tensor([[2, -1], [0, 1]])}
    (sample,) = sample_proposals([PROPOSALS], [label], small_config())
    assert sample["attributes"].tolist() == [[2, -1], [0, 1], [2, -1], [0, 1], [-1, -1]]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"class_labels": torch.tensor([5, 2])}, r"class_labels has values from 2 to 5; the model knows 0 to 4"),
        ({"class_labels": torch.tensor([-1, 2])}, r"class_labels has values from -1"),
        ({"attributes": torch.tensor([[3], [0]])}, r"attributes has values from 0 to 3; the model knows -1 to 2"),
    ],
)
def test_class_or_attribute_out_of_range_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        sample_proposals([PROPOSALS], [LABEL | wrong], small_config())


def head_inputs(config):
    samples = sample_proposals([PROPOSALS, PROPOSALS[:1]], [LABEL, LABEL], config)
    size = sum(len(sample["boxes"]) for sample in samples)
    boxes = config.num_objects + int(config.background_first)
    return torch.randn(size, config.num_objects + 1), torch.randn(size, boxes, 4), samples


def test_class_loss_is_the_mean_cross_entropy_with_the_background():
    class_logits, box_deltas, samples = head_inputs(config := small_config())
    targets = torch.cat([sample["class_labels"] for sample in samples])
    losses = head_losses(class_logits, box_deltas, samples, config)
    assert_close(losses["loss_cls"], F.cross_entropy(class_logits, targets))


@pytest.mark.parametrize("background_first", [False, True])
def test_box_loss_is_zero_for_the_deltas_that_lead_to_the_ground_truth(background_first):
    config = small_config(background_first=background_first)
    class_logits, box_deltas, samples = head_inputs(config)
    offset = int(background_first)
    box_deltas[0, 4 + offset] = torch.tensor([10 * -1 / 38, 10 * -1 / 42, 5 * torch.tensor(40 / 38).log(), 0])
    box_deltas[0, 4 + offset, 3] = 5 * torch.tensor(40 / 42).log()
    samples = [{key: value[:1] for key, value in samples[0].items()}]
    losses = head_losses(class_logits[:1], box_deltas[:1], samples, config)
    assert_close(losses["loss_box_reg"], torch.tensor(0.0), atol=1e-6, rtol=0)
    assert head_losses(class_logits[:1], box_deltas[:1] + 1, samples, config)["loss_box_reg"] == pytest.approx(4)


def test_box_loss_counts_every_sampled_box_but_sums_the_positives():
    class_logits, box_deltas, samples = head_inputs(config := small_config())
    whole = head_losses(class_logits[:5], box_deltas[:5], samples[:1], config)["loss_box_reg"]
    positives = [{key: value[:4] for key, value in samples[0].items()}]
    alone = head_losses(class_logits[:4], box_deltas[:4], positives, config)["loss_box_reg"]
    assert_close(whole * 5, alone * 4)


def test_empty_samples_give_zero_and_a_graph():
    config = small_config()
    empty = {"boxes": torch.zeros(0, 4), "class_labels": torch.zeros(0, dtype=torch.long)}
    samples = sample_proposals([torch.zeros(0, 4)], [empty], config)
    class_logits, box_deltas = torch.zeros(0, 6, requires_grad=True), torch.zeros(0, 5, 4, requires_grad=True)
    losses = head_losses(class_logits, box_deltas, samples, config, torch.zeros(0, 4, requires_grad=True))
    total = sum(losses.values())
    total.backward()
    assert total == 0


@pytest.mark.parametrize("background_first", [False, True])
def test_attribute_loss_averages_over_a_box_and_then_over_the_boxes_that_have_some(background_first):
    config = small_config(background_first=background_first)
    logits = torch.randn(4, 4)
    samples = [
        {"boxes": torch.zeros(2, 4), "attributes": torch.tensor([[0, 2], [1, -1]])},
        {"boxes": torch.zeros(2, 4), "attributes": torch.tensor([[-1], [-1]])},
    ]
    log_probs, first = logits.log_softmax(-1), int(background_first)
    expected = -((log_probs[0, first] + log_probs[0, 2 + first]) / 2 + log_probs[1, 1 + first]) / 2
    assert_close(attribute_loss(logits, samples, config), expected)


def test_attribute_loss_is_weighted_and_zero_where_no_box_has_attributes():
    class_logits, box_deltas, samples = head_inputs(config := small_config())
    logits = torch.randn(len(class_logits), 4, requires_grad=True)
    losses = head_losses(class_logits, box_deltas, samples, config, logits)
    assert losses["loss_attribute"] == 0
    samples[0]["attributes"] = torch.zeros(len(samples[0]["boxes"]), 1, dtype=torch.long)
    weighted = head_losses(class_logits, box_deltas, samples, config, logits)["loss_attribute"]
    assert_close(weighted, 0.2 * attribute_loss(logits, samples, config))


def test_no_more_attributes_than_the_configured_number_count():
    samples = [{"boxes": torch.zeros(1, 4), "attributes": torch.tensor([[0, 1, 2]])}]
    logits = torch.randn(1, 4)
    shorter = [{"boxes": torch.zeros(1, 4), "attributes": torch.tensor([[0, 1]])}]
    limited = attribute_loss(logits, samples, small_config(max_attributes=2))
    assert_close(limited, attribute_loss(logits, shorter, small_config()))


def test_losses_of_bfloat16_under_autocast_are_computed_in_float32():
    anchors, objectness, deltas, labels, config, tensors = golden_rpn("d2_c4")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = rpn_losses(anchors, objectness.bfloat16(), deltas.bfloat16(), labels, config)
        class_logits, box_deltas, samples = head_inputs(small_config())
        losses |= head_losses(class_logits.bfloat16(), box_deltas.bfloat16(), samples, small_config())
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    for name in ("loss_rpn_cls", "loss_rpn_loc"):
        assert_close(losses[name], tensors[f"loss.{name}"], atol=0, rtol=5e-3)
