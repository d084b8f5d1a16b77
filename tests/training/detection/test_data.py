import json

import pytest
from PIL import Image
from wenlan.data import load_emoji_scenes
from wenlan.training.detection.data import DetectionDataArguments, load_test_data, load_training_data

SCENES = {"scenes": "4", "scene_options": {"num_classes": 16, "canvas": 128}}


@pytest.fixture
def coco_file(tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 30}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "attributes": [{"id": 1, "name": "big"}],
        "annotations": [{"image_id": 1, "category_id": 2, "bbox": [1, 2, 10, 9], "attribute_ids": [1]}],
    }
    (tmp_path / "train.json").write_text(json.dumps(content), "utf-8")
    content["categories"] = [{"id": 5, "name": "dog"}, {"id": 6, "name": "bird"}]
    content["annotations"] = [{"image_id": 1, "category_id": 5, "bbox": [1, 2, 10, 9]}]
    (tmp_path / "test.json").write_text(json.dumps(content), "utf-8")
    return tmp_path / "train.json"


def test_scenes_come_with_boxes_in_the_form_of_coco():
    data = load_training_data(DetectionDataArguments(**SCENES), seed=0)
    scene = load_emoji_scenes("detect", 4, **SCENES["scene_options"])[2]
    assert data.dataset[2]["image_id"] == scene["image_id"]
    for ours, theirs in zip(data.dataset[2]["objects"], scene["objects"], strict=True):
        x, y, width, height = ours["bbox"]
        assert [x, y, x + width, y + height] == theirs["bbox"]
        assert ours["category_id"] == theirs["category_id"]
        assert ours["attribute_ids"] == theirs["attributes"]
    assert len(data.class_names) == 128
    assert data.attribute_names == ["big", "small", "wide", "tall"]


def test_scenes_are_judged_in_known_and_unknown_styles():
    args = DetectionDataArguments(**SCENES)
    tests = load_test_data(args, load_training_data(args, seed=0))
    assert {name: len(rows) for name, rows in tests.items()} == {"test": 4, "test_style": 4}


def test_attributes_can_be_left_out():
    assert load_training_data(DetectionDataArguments(**SCENES, attributes=False), seed=0).attribute_names == []


def test_shuffled_labels_keep_their_boxes_and_follow_the_seed():
    plain = load_training_data(DetectionDataArguments(**SCENES), seed=0)
    shuffled, again, other = (
        load_training_data(DetectionDataArguments(**SCENES, shuffle_labels=True), seed=seed).dataset
        for seed in (0, 0, 1)
    )

    def column(dataset, name):
        return [item[name] for row in dataset for item in row["objects"]]

    assert column(shuffled, "bbox") == column(plain.dataset, "bbox")
    assert column(shuffled, "category_id") == column(again, "category_id")
    assert column(shuffled, "category_id") != column(other, "category_id")
    pairs = list(zip(column(shuffled, "category_id"), column(plain.dataset, "category_id"), strict=True))
    assert sum(a == b for a, b in pairs) < len(pairs) / 2


def test_own_files_are_read_and_the_test_has_the_classes_of_the_training(coco_file):
    args = DetectionDataArguments(data=str(coco_file), test_data=str(coco_file.parent / "test.json"))
    data = load_training_data(args, seed=0)
    assert (data.class_names, data.attribute_names) == (["cat", "dog"], ["big"])
    assert data.dataset[0]["objects"] == [{"bbox": [1, 2, 10, 9], "category_id": 1, "attribute_ids": [0]}]
    assert load_test_data(args, data)["test"][0]["objects"][0]["category_id"] == 1


def test_own_file_without_a_test_is_not_judged(coco_file):
    args = DetectionDataArguments(data=str(coco_file))
    assert load_test_data(args, load_training_data(args, seed=0)) == {}


def test_file_without_boxes_is_neither_trained_nor_evaluated_on(coco_file):
    content = json.loads(coco_file.read_text())
    empty = coco_file.with_name("empty.json")
    empty.write_text(json.dumps(content | {"annotations": []}))
    with pytest.raises(ValueError, match=r"empty\.json has no box in any of its 1 images"):
        load_training_data(DetectionDataArguments(data=str(empty)), seed=0)
    args = DetectionDataArguments(data=str(coco_file), test_data=str(empty))
    with pytest.raises(ValueError, match=r"empty\.json has no box in any of its 1 images"):
        load_test_data(args, load_training_data(args, seed=0))
