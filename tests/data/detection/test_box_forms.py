import json

import numpy as np
import pytest
from PIL import Image
from wenlan.data import TooManyBadRowsError, read_coco_detection
from wenlan.data.detection.box_forms import PlacedBox, clip, detect_form, read_numbers, read_whole

WIDTH, HEIGHT = 100, 80


def corners(count, seed=0):
    rng = np.random.default_rng(seed)
    first = rng.uniform(0, (60, 50), (count, 2))
    return np.concatenate([first, first + rng.uniform(12, (40, 30), (count, 2))], axis=1)


TO_FORM = {
    "xyxy": lambda box: box,
    "xywh": lambda box: [*box[:2], *(box[2:] - box[:2])],
    "xyxy fractions": lambda box: box / [WIDTH, HEIGHT, WIDTH, HEIGHT],
    "xywh fractions": lambda box: np.array([*box[:2], *(box[2:] - box[:2])]) / [WIDTH, HEIGHT, WIDTH, HEIGHT],
    "centre fractions": lambda box: (
        np.array([*(box[:2] + box[2:]) / 2, *(box[2:] - box[:2])]) / [WIDTH, HEIGHT, WIDTH, HEIGHT]
    ),
}


def write(folder, boxes):
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "a.png")
    annotations = [{"image_id": 1, "category_id": 1, "bbox": list(map(float, box))} for box in boxes]
    image = {"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}
    content = {"images": [image], "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
    (folder / "a.json").write_text(json.dumps(content))
    return folder / "a.json"


@pytest.mark.parametrize(
    ("form", "repairs"),
    [
        ("xywh", {}),
        ("xyxy", {"box by corners": 30}),
        ("xywh fractions", {"box in fractions": 30}),
        ("xyxy fractions", {"box in fractions": 30}),
        ("centre fractions", {"box in fractions": 30}),
    ],
)
def test_form_of_many_boxes_is_told_and_its_boxes_come_out_in_pixels(form, repairs, tmp_path):
    expected = corners(30)
    # Some by the edges: they tell the order of fractions.
    expected[:4] = [[0, 0, 90, 20], [2, 60, 12, 80], [85, 3, 100, 17], [0, 20, 15, 77]]
    data = read_coco_detection(write(tmp_path, map(TO_FORM[form], expected)))
    found = np.array([item["bbox"] for item in data.dataset[0]["objects"]])
    assert np.allclose(found, [TO_FORM["xywh"](box) for box in expected], atol=1e-3)
    assert dict(data.report.repairs) == repairs


@pytest.mark.parametrize(
    "boxes",
    [
        [[0.1, 0.1, 0.4, 0.5]] * 6,  # corners, or a size
        [[0.5, 0.5, 0.1, 0.1], [0.4, 0.6, 0.2, 0.1], [0.3, 0.3, 0.1, 0.2]],  # a size, or a centre
        [[0.9, 0.9, 0.95, 0.95]],  # too few
        [[1, 1, 1, 1]],
    ],
)
def test_fractions_whose_order_is_not_certain_are_refused(boxes, tmp_path):
    with pytest.raises(ValueError, match=r"a\.json: all boxes lie between 0 and 1"):
        read_coco_detection(write(tmp_path, boxes))


def test_corners_that_are_too_few_to_be_certain_are_not_passed_on(tmp_path):
    with pytest.raises(TooManyBadRowsError, match="box outside"):
        read_coco_detection(write(tmp_path, [[60, 50, 90, 70], [70, 60, 90, 75]]))


def test_one_careless_box_does_not_make_corners_of_sizes(tmp_path):
    boxes = [*map(TO_FORM["xywh"], corners(12)), [80, 60, 25, 25]]
    data = read_coco_detection(write(tmp_path, boxes))
    assert data.report.repairs == {"box clipped": 1}
    assert data.dataset[0]["objects"][0]["bbox"] == pytest.approx(list(boxes[0]), abs=1e-3)


def test_boxes_of_a_larger_copy_of_the_images_are_refused(tmp_path):
    with pytest.raises(TooManyBadRowsError, match="of the boxes"):
        read_coco_detection(write(tmp_path, [np.array(TO_FORM["xywh"](box)) * 4 for box in corners(20)]))


def test_boxes_from_the_corner_say_nothing_of_the_form():
    assert detect_form([PlacedBox((0, 0, side, side), 50, 50) for side in range(5, 50)]) == "xywh"
    assert detect_form([]) == "xywh"


@pytest.mark.parametrize(
    ("value", "number"),
    [(3, 3), (3.0, 3), ("3", 3), (" 03 ", 3), (2**63 - 1, 2**63 - 1), ("9" * 18, 10**18 - 1), (-2, -2)],
)
def test_whole_numbers_are_read_however_they_are_written(value, number):
    assert read_whole(value) == number


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3.5,
        "3.5",
        "three",
        "",
        "３",
        "²",
        "-3",
        "1e3",
        2**63,
        "9" * 19,
        1e300,
        [3],
        float("nan"),
        float("inf"),
    ],
)
def test_what_may_be_no_whole_number_is_none(value):
    assert read_whole(value) is None


def test_four_numbers_are_read_and_nothing_else():
    assert read_numbers(["1", 2, 3.5, "4e0"]) == (1, 2, 3.5, 4)
    for value in (
        None,
        [1, 2, 3],
        [1, 2, 3, None],
        "1 2 3 4",
        {"x": 1},
        [1, 2, 3, [4]],
        [1, 2, 3, "inf"],
        [1, 2, 3, 1e300],
    ):
        assert read_numbers(value) is None


def test_clipping_says_where_most_is_outside():
    assert clip((-4, 20, 6, 32), 40, 30) == ([0, 20, 6, 10], False)
    assert clip((30, 20, 90, 30), 40, 30) == ([30, 20, 10, 10], True)
    assert clip((50, 20, 90, 30), 40, 30) is None
