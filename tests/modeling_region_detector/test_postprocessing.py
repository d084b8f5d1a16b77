import pytest
import torch
from wenlan.modeling_region_detector.boxes import nms
from wenlan.modeling_region_detector.postprocessing import (
    choose_by_confidence,
    detect,
    kept_confidence,
    lowered_thresholds,
)

OVERLAP = {"nms_threshold": 0.3, "plus_one": True}


def random_boxes(count, seed):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * 60
    return torch.cat([corners, corners + 5 + torch.rand(count, 2, generator=generator) * 40], dim=1)


def confidence_by_the_class_loop(boxes, probs):
    """The published way: one suppression for each class."""
    confidence = torch.zeros(len(boxes))
    for scores in probs.T:
        kept = nms(boxes, scores, 0.3, plus_one=True)
        confidence[kept] = torch.maximum(confidence[kept], scores[kept])
    return confidence


@pytest.mark.parametrize("seed", range(5))
def test_sparse_confidence_equals_the_class_loop(seed):
    boxes = random_boxes(40, seed)
    probs = torch.randn(40, 12, generator=torch.Generator().manual_seed(seed)).mul(2).softmax(1)
    expected = confidence_by_the_class_loop(boxes, probs)
    torch.testing.assert_close(kept_confidence(boxes, probs, threshold=0.0, enough=0, **OVERLAP), expected)
    sparse = kept_confidence(boxes, probs, threshold=0.2, enough=0, **OVERLAP)
    above = expected >= 0.2
    assert torch.equal(sparse >= 0.2, above)
    torch.testing.assert_close(sparse[above], expected[above])


def test_threshold_is_lowered_until_there_are_enough():
    boxes = random_boxes(10, 0)
    probs = torch.full((10, 3), 0.02)
    assert (kept_confidence(boxes, probs, threshold=0.2, enough=1, **OVERLAP) > 0).any()
    assert (kept_confidence(boxes, probs, threshold=0.2, enough=0, **OVERLAP) == 0).all()


def test_thresholds_end_with_zero():
    thresholds = list(lowered_thresholds(0.2))
    assert thresholds[0] == 0.2
    assert thresholds[-1] == 0
    assert thresholds == sorted(thresholds, reverse=True)


def test_regions_keep_their_order_unless_there_are_too_few_or_too_many():
    confidence = torch.tensor([0.3, 0.1, 0.9, 0.5])
    assert choose_by_confidence(confidence, threshold=0.2, min_boxes=1, max_boxes=3).tolist() == [0, 2, 3]
    assert choose_by_confidence(confidence, threshold=0.2, min_boxes=4, max_boxes=4).tolist() == [2, 3, 0, 1]
    assert choose_by_confidence(confidence, threshold=0.2, min_boxes=1, max_boxes=2).tolist() == [2, 3]


def test_a_proposal_can_be_found_as_two_classes():
    boxes = torch.tensor([[[0.0, 0, 9, 9], [20, 20, 40, 40]]])
    found, classes, scores = detect(
        boxes, torch.tensor([[0.6, 0.4]]), threshold=0.3, max_boxes=5, nms_threshold=0.5, plus_one=False
    )
    assert found.tolist() == [0, 0]
    assert classes.tolist() == [0, 1]
    assert scores.tolist() == pytest.approx([0.6, 0.4])


def test_detections_without_an_area_are_left_out():
    boxes = torch.tensor([[[0.0, 0, 0, 9]], [[3, 3, 9, 9]]])
    found, _, _ = detect(
        boxes, torch.tensor([[0.9], [0.8]]), threshold=0.3, max_boxes=5, nms_threshold=0.5, plus_one=False
    )
    assert found.tolist() == [1]


def test_no_proposals_give_no_detections():
    found, classes, scores = detect(
        torch.zeros(0, 2, 4),
        torch.zeros(0, 2),
        threshold=0.5,
        min_boxes=3,
        max_boxes=5,
        nms_threshold=0.5,
        plus_one=False,
    )
    assert len(found) == len(classes) == len(scores) == 0
