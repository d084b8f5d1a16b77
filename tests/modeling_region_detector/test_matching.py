import pytest
import torch
from helpers.regions.golden import golden_anchors, read_tensors
from torch.testing import assert_close
from torchvision.ops import box_iou
from wenlan.modeling_region_detector.boxes import encode_boxes
from wenlan.modeling_region_detector.matching import label_boxes, sample_boxes

RPN = {"low": 0.3, "high": 0.7, "allow_low_quality": True}
ROI = {"low": 0.5, "high": 0.5, "allow_low_quality": False}


@pytest.fixture(scope="module")
def ops():
    return read_tensors("ops")


def test_overlap_is_the_one_of_the_reference(ops):
    assert_close(box_iou(ops["gt"], ops["boxes"]), ops["iou"], atol=1e-6, rtol=0)


def test_proposals_are_matched_and_labelled_as_in_the_reference(ops):
    matches, labels = label_boxes(ops["boxes"], ops["gt"], **ROI)
    assert torch.equal(matches, ops["match_roi_index"])
    assert torch.equal(labels.to(torch.int8), ops["match_roi_label"])


def test_ground_truth_that_no_box_touches_makes_no_positives_unlike_the_reference(ops):
    """There every box that does not touch it becomes positive: here all 60."""
    assert ops["match_rpn_label"].tolist() == [1] * 60
    touched = ops["iou"].amax(dim=1) > 0
    matches, labels = label_boxes(ops["boxes"], ops["gt"], **RPN)
    assert not touched.all()
    assert torch.equal(matches, ops["match_rpn_index"])
    assert torch.equal(labels, label_boxes(ops["boxes"], ops["gt"][touched], **RPN)[1])


@pytest.mark.parametrize("case", ["d2_c4", "d2_fpn"])
@pytest.mark.parametrize("image", [0, 1])
def test_anchors_of_a_image_are_labelled_and_encoded_as_in_the_reference(case, image):
    tensors = read_tensors(case)
    anchors, gt_boxes = golden_anchors(case, tensors), tensors[f"gt_boxes.{image}"]
    matches, labels = label_boxes(anchors, gt_boxes, **RPN)
    assert torch.equal(labels.to(torch.int8), tensors[f"rpn_gt_labels_i8.{image}"])
    positive = labels == 1
    deltas = encode_boxes(anchors[positive], gt_boxes[matches[positive]], weights=(1, 1, 1, 1), plus_one=False)
    assert_close(deltas, tensors[f"rpn_gt_deltas_positive.{image}"], atol=1e-5, rtol=0)


def test_without_ground_truth_all_boxes_are_negative():
    matches, labels = label_boxes(torch.rand(5, 4), torch.zeros(0, 4), **RPN)
    assert matches.tolist() == labels.tolist() == [0] * 5


def test_without_boxes_there_are_no_labels():
    matches, labels = label_boxes(torch.zeros(0, 4), torch.tensor([[0.0, 0.0, 4.0, 4.0]]), **RPN)
    assert len(matches) == len(labels) == 0


def test_nearest_box_is_positive_only_where_low_quality_is_allowed():
    boxes, gt_boxes = torch.tensor([[0.0, 0.0, 8.0, 8.0]]), torch.tensor([[0.0, 0.0, 8.0, 4.0]])  # overlap 0.5
    assert label_boxes(boxes, gt_boxes, **RPN)[1].tolist() == [1]
    assert label_boxes(boxes, gt_boxes, low=0.3, high=0.7, allow_low_quality=False)[1].tolist() == [-1]


def test_plus_one_counts_the_last_pixel():
    boxes, gt_boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[0.0, 0.0, 3.0, 1.0]])  # 4 of 8 px, or 1 of 3
    assert label_boxes(boxes, gt_boxes, **ROI, plus_one=True)[1].tolist() == [1]
    assert label_boxes(boxes, gt_boxes, **ROI)[1].tolist() == [0]


def test_sample_holds_all_boxes_in_order_where_they_are_few():
    positive, negative = sample_boxes(torch.tensor([1, 0, -1, 1, 0]), size=8, positive_fraction=0.5)
    assert (positive.tolist(), negative.tolist()) == ([0, 3], [1, 4])


def test_sample_is_limited_and_negatives_fill_what_positives_leave():
    labels = torch.tensor([1] * 3 + [-1] * 5 + [0] * 90)
    positive, negative = sample_boxes(labels, size=32, positive_fraction=0.25)
    assert positive.tolist() == [0, 1, 2]
    assert len(set(negative.tolist())) == 29
    assert negative.min() >= 8


def test_sample_has_no_more_than_the_share_of_positives():
    positive, negative = sample_boxes(torch.ones(100, dtype=torch.long), size=32, positive_fraction=0.25)
    assert (len(set(positive.tolist())), len(negative)) == (8, 0)


def test_sample_follows_the_seed_of_torch():
    labels = torch.zeros(1000, dtype=torch.long)
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        draws.append(sample_boxes(labels, size=16, positive_fraction=0.5)[1].tolist())
    assert draws[0] == draws[1] != draws[2]
