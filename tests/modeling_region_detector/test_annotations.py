import logging

import numpy as np
import pytest
import torch
from wenlan.modeling_region_detector import annotations as detection_annotations
from wenlan.modeling_region_detector.annotations import to_labels


def labels_of(*objects, image_size=(100, 200), scales=(1.0, 1.0), max_attributes=3):
    annotation = {"image_id": 17, "annotations": list(objects)}
    return to_labels(annotation, image_size=image_size, scales=scales, max_attributes=max_attributes)


def test_boxes_become_corners_in_pixels_of_the_resized_image():
    labels = labels_of(
        {"bbox": [10, 20, 30, 40], "category_id": 5}, {"bbox": [0, 0, 200, 100], "category_id": 0}, scales=(2.0, 0.5)
    )
    assert labels["boxes"].tolist() == [[5, 40, 20, 120], [0, 0, 100, 200]]
    assert labels["boxes"].dtype == torch.float32
    assert labels["class_labels"].tolist() == [5, 0]
    assert labels["image_id"].tolist() == [17]
    assert labels["dropped_boxes"].tolist() == [0]
    assert "attributes" not in labels


def test_boxes_are_clipped_to_the_image():
    labels = labels_of({"bbox": [-10, -5, 30, 40], "category_id": 1}, {"bbox": [190, 90, 30, 40], "category_id": 2})
    assert labels["boxes"].tolist() == [[0, 0, 20, 35], [190, 90, 200, 100]]


@pytest.mark.parametrize(
    "bbox",
    [
        [0, 0, float("nan"), 5],
        [float("inf"), 0, 5, 5],
        [0, 0, 0, 5],
        [0, 0, 5, -1],
        [200, 0, 5, 5],
        [-9, 0, 9, 5],
    ],
)
def test_box_that_covers_nothing_is_left_out_and_counted(bbox):
    labels = labels_of({"bbox": bbox, "category_id": 1}, {"bbox": [1, 1, 2, 2], "category_id": 2})
    assert labels["boxes"].tolist() == [[1, 1, 3, 3]]
    assert labels["class_labels"].tolist() == [2]
    assert labels["dropped_boxes"].tolist() == [1]


def test_left_out_boxes_are_logged_once_a_cause(monkeypatch, caplog):
    monkeypatch.setattr(detection_annotations, "_reported", set())
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    with caplog.at_level(logging.WARNING):
        labels_of(*[{"bbox": [0, 0, 0, row], "category_id": 1} for row in range(3)])
    assert len(caplog.records) == 1
    assert "Box 0 of the image 17 covers nothing of its 200 x 100 pixels" in caplog.text


def test_crowds_are_left_out():
    labels = labels_of({"bbox": [0, 0, 5, 5], "category_id": 1, "iscrowd": 1})
    assert labels["boxes"].shape == (0, 4)
    assert labels["class_labels"].shape == (0,)
    assert labels["dropped_boxes"].tolist() == [1]


def test_attributes_are_cut_and_padded_with_minus_one():
    labels = labels_of(
        {"bbox": [0, 0, 5, 5], "category_id": 1, "attribute_ids": [7]},
        {"bbox": [0, 0, 5, 5], "category_id": 1},
        {"bbox": [0, 0, 5, 5], "category_id": 1, "attribute_ids": [0, 1, 2, 3]},
    )
    assert labels["attributes"].tolist() == [[7, -1, -1], [-1, -1, -1], [0, 1, 2]]


def test_numbers_of_numpy_are_taken():
    labels = labels_of({"bbox": np.array([0, 0, 5, 5.0]), "category_id": np.int64(1)})
    assert labels["boxes"].tolist() == [[0, 0, 5, 5]]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"category_id": 1}, "Box 1 of the image 17 is None; expected .x, y, width, height"),
        ({"bbox": [0, 0, 5], "category_id": 1}, "Box 1"),
        ({"bbox": [0, 0, 5, "5"], "category_id": 1}, "Box 1"),
        ({"bbox": [0, 0, 5, 5]}, "Box 1 of the image 17: category_id"),
        ({"bbox": [0, 0, 5, 5], "category_id": -1}, "category_id"),
        ({"bbox": [0, 0, 5, 5], "category_id": 1.0}, "category_id"),
        ({"bbox": [0, 0, 5, 5], "category_id": 1, "attribute_ids": ["red"]}, "attribute_ids"),
    ],
)
def test_malformed_box_is_named(item, message):
    with pytest.raises(ValueError, match=message):
        labels_of({"bbox": [0, 0, 5, 5], "category_id": 1}, item)


@pytest.mark.parametrize("annotation", [[], {"annotations": []}, {"image_id": "a", "annotations": []}])
def test_malformed_annotation_is_refused(annotation):
    with pytest.raises(ValueError, match="image_id"):
        to_labels(annotation, image_size=(9, 9), scales=(1, 1), max_attributes=1)
