import pytest
import torch
from wenlan.evaluation import detection_map

NAMES = ["cat", "dog", "bird"]
TARGETS = [
    {"boxes": torch.tensor([[0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 60.0, 50.0]]), "labels": torch.tensor([0, 1])},
    {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)},
    {"boxes": torch.tensor([[5.0, 5.0, 30.0, 40.0]]), "labels": torch.tensor([1])},
]


def found(targets, score=0.9):
    return [target | {"scores": torch.full((len(target["labels"]),), score)} for target in targets]


def test_ground_truth_as_prediction_gives_one():
    metrics = detection_map(found(TARGETS), TARGETS, NAMES)
    assert metrics == {"mAP": 1.0, "mAP50": 1.0, "mAP75": 1.0, "AP/cat": 1.0, "AP/dog": 1.0}


def test_wrong_class_gives_zero():
    wrong = [target | {"labels": 1 - target["labels"]} for target in found(TARGETS)]
    assert detection_map(wrong, TARGETS, NAMES)["mAP50"] == 0.0


def test_no_prediction_gives_zero():
    empty = [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long), "scores": torch.zeros(0)}] * 3
    assert detection_map(empty, TARGETS, NAMES)["mAP50"] == 0.0


def test_nothing_to_find_is_no_metric():
    none = [TARGETS[1]] * 2
    for predictions in (found(none), found(TARGETS[:2])):
        with pytest.raises(ValueError, match="None of the 2 images has a true box"):
            detection_map(predictions, none, NAMES)


def test_loose_boxes_count_at_the_overlap_that_they_reach():
    loose = found(TARGETS)
    loose[0]["boxes"] = loose[0]["boxes"] * torch.tensor([1.0, 1.0, 1.0, 0.62])  # overlap 0.62 of the first box
    loose[0]["boxes"][1] = TARGETS[0]["boxes"][1]
    metrics = detection_map(loose, TARGETS, NAMES)
    assert (metrics["mAP50"], metrics["AP/dog"]) == (1.0, 1.0)
    assert metrics["AP/cat"] == pytest.approx(0.3, abs=0.01)  # at 0.50, 0.55 and 0.60 of ten overlaps
    assert metrics["mAP75"] == 0.5


def test_single_class_has_a_figure_by_its_name():
    target = [{"boxes": torch.tensor([[0.0, 0.0, 5.0, 5.0]]), "labels": torch.tensor([2])}]
    assert detection_map(found(target), target, NAMES)["AP/bird"] == 1.0
