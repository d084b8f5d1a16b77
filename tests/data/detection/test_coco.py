import json
import math

import pytest
from PIL import Image
from wenlan.data import TooManyBadRowsError, read_coco_detection

CATEGORIES = [{"id": 90, "name": "dog"}, {"id": 7, "name": "cat"}]
ATTRIBUTES = [{"id": 3, "name": "big"}, {"id": 5, "name": "red"}]


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 30)).save(tmp_path / name)
    return tmp_path


def image(image_id, file_name, width=40, height=30, **fields):
    return {"id": image_id, "file_name": file_name, "width": width, "height": height, **fields}


def annotation(bbox, image_id=1, category_id=7, **fields):
    return {"image_id": image_id, "category_id": category_id, "bbox": bbox, **fields}


def write(folder, annotations=(), images=None, **content):
    images = [image(1, "a.png"), image(2, "b.png")] if images is None else images
    content = {"images": images, "annotations": list(annotations), "categories": CATEGORIES} | content
    (folder / "instances.json").write_text(json.dumps(content), "utf-8")
    return folder / "instances.json"


def objects_of(data, row=0):
    return data.dataset[row]["objects"]


def test_images_boxes_and_names_come_out_with_classes_in_the_order_of_their_ids(folder):
    data = read_coco_detection(write(folder, [annotation([1, 2, 10, 20]), annotation([0, 0, 5, 5], 2, 90)]))
    assert data.class_names == ["cat", "dog"]
    assert data.attribute_names == []
    assert objects_of(data) == [{"bbox": [1, 2, 10, 20], "category_id": 0, "attribute_ids": []}]
    assert objects_of(data, 1) == [{"bbox": [0, 0, 5, 5], "category_id": 1, "attribute_ids": []}]
    row = data.dataset[1]
    assert (row["image_id"], row["width"], row["height"], row["image"].size) == (2, 40, 30, (40, 30))
    assert str(data.report).endswith("kept 2 of 2 rows (0.0% bad)")


def test_image_without_boxes_is_kept(folder):
    assert objects_of(read_coco_detection(write(folder, [annotation([1, 2, 10, 20])])), 1) == []


def test_attributes_are_numbered_in_the_order_of_their_ids(folder):
    boxes = [annotation([1, 2, 10, 20], attribute_ids=[5, 3, 5])]
    data = read_coco_detection(write(folder, boxes, attributes=ATTRIBUTES))
    assert data.attribute_names == ["big", "red"]
    assert objects_of(data)[0]["attribute_ids"] == [1, 0]


def test_second_file_is_read_with_the_numbers_of_the_first(folder):
    file = write(folder, [annotation([1, 2, 10, 20], 1, 90)])
    data = read_coco_detection(file, class_names=["bird", "dog"])
    assert data.class_names == ["bird", "dog"]
    assert objects_of(data)[0]["category_id"] == 1


@pytest.mark.parametrize(
    ("cause", "box"),
    [
        ("empty box", annotation([1, 2, 0, 5])),
        ("empty box", annotation([1, 2, -3, 5])),
        ("empty box", annotation([50, 2, 5, 5])),
        ("empty box", annotation([1, 2, math.nan, 5])),
        ("empty box", annotation([1, 2, math.inf, 5])),
        ("empty box", annotation([1, 2, 3])),
        ("empty box", annotation("1 2 3 4")),
        ("empty box", annotation(None)),
        ("unknown category", annotation([1, 2, 3, 4], 1, 8)),
        ("unknown category", annotation([1, 2, 3, 4], 1, None)),
        ("unknown category", annotation([1, 2, 3, 4], 1, [7])),
        ("unknown category", annotation([1, 2, 3, 4], 1, True)),
        ("unknown category", annotation([1, 2, 3, 4], 1, 2**70)),
        ("empty box", annotation([1, 2, True, 5])),
        ("empty box", annotation([1, 2, 10**400, 5])),
        ("empty box", annotation([1, 2, "wide", 5])),
        ("empty box", annotation([1, 2, "nan", 5])),
        ("box outside", annotation([30, 2, 30, 5])),
        ("box outside", annotation([0, 0, 4000, 3000])),
        ("box within a pixel", annotation([0.1, 0.2, 0.5, 0.5])),
        ("box within a pixel", annotation([0, 0, 1, 1])),
        ("crowd skipped", annotation([1, 2, 3, 4], iscrowd=True)),
        ("crowd skipped", annotation([1, 2, 3, 4], iscrowd="1")),
        ("unknown image", annotation([1, 2, 3, 4], 2**64)),
        ("crowd skipped", annotation([1, 2, 3, 4], iscrowd=1)),
        ("duplicate box", annotation([5, 5, 9, 9])),
        ("unknown image", annotation([1, 2, 3, 4], 99)),
        ("unknown image", annotation([1, 2, 3, 4], [1])),
        ("unknown image", "no annotation"),
    ],
)
def test_unusable_box_is_left_out_and_counted(folder, cause, box):
    data = read_coco_detection(write(folder, [annotation([5, 5, 9, 9]), box]), max_bad_fraction=0.5)
    assert [item["bbox"] for item in objects_of(data)] == [[5, 5, 9, 9]]
    assert dict(data.report.repairs) == {cause: 1}
    assert "annotation 1" in data.report.examples[cause]


def test_box_beyond_the_image_is_clipped_and_counted(folder):
    data = read_coco_detection(write(folder, [annotation([-4, 20, 10, 12])]))
    assert objects_of(data)[0]["bbox"] == [0, 20, 6, 10]
    assert data.report.repairs == {"box clipped": 1}


def test_box_that_ends_a_rounding_beyond_the_image_is_clipped_in_silence(folder):
    data = read_coco_detection(write(folder, [annotation([30, 20, 10.5, 10])]))
    assert objects_of(data)[0]["bbox"] == [30, 20, 10, 10]
    assert not data.report.repairs


def test_unknown_attribute_is_left_out_and_counted(folder):
    data = read_coco_detection(write(folder, [annotation([1, 2, 3, 4], attribute_ids=[3, 4])], attributes=ATTRIBUTES))
    assert objects_of(data)[0]["attribute_ids"] == [0]
    assert data.report.repairs == {"unknown attribute": 1}


@pytest.mark.parametrize(
    ("cause", "wrong"),
    [
        ("file missing", image(3, "none.png")),
        ("path leaves image root", image(3, "../a.png")),
        ("image is a URL", image(3, "https://example.org/a.png")),
        ("missing field", image(3, None)),
        ("missing field", image("three", "a.png")),
        ("missing field", image(3.5, "a.png")),
        ("missing field", image(2**63, "a.png")),
        ("missing field", image(True, "a.png")),
        ("missing field", image(3, "a.png", width=40.5)),
        ("missing field", image(3, "a.png", width="wide")),
        ("size differs", image(3, "a.png", width=10**9)),
        ("missing field", image(3, "a.png", width=0)),
        ("missing field", "a.png"),
        ("duplicate image", image(1, "b.png")),
        ("size differs", image(3, "a.png", width=30, height=40)),
        ("bad image", image(3, "broken.png")),
    ],
)
def test_unusable_image_is_left_out_and_counted(folder, cause, wrong):
    (folder / "broken.png").write_bytes(b"no image")
    images = [image(1, "a.png"), image(2, "b.png"), wrong]
    file = write(folder, [annotation([1, 2, 3, 4]), annotation([1, 2, 3, 4], 3)], images)
    data = read_coco_detection(file, max_bad_fraction=0.5, check_image=open_image)
    assert data.dataset["image_id"][:] == [1, 2]
    assert dict(data.report.counts) == {cause: 1}
    assert "image 2" in data.report.examples[cause]


def open_image(path):
    try:
        return Image.open(path)
    except OSError as error:
        raise ValueError(str(error)) from error


def test_too_many_bad_images_raise_with_the_account(folder):
    file = write(folder, images=[image(1, "a.png"), image(2, "none.png")])
    with pytest.raises(TooManyBadRowsError, match="1 x file missing"):
        read_coco_detection(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"categories": None}, "no list 'categories'"),
        ({"images": {}}, "no list 'images'"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]}, "the same id or name"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, "the same id or name"),
        ({"categories": [{"id": 1}]}, "'name'"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": "two", "name": "b"}]}, "Each of the categories"),
        ({"categories": [{"id": 1, "name": "a"}, "b"]}, "Each of the categories"),
        ({"categories": [{"id": 1, "name": ["a"]}]}, "Each of the categories"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 2, "name": " "}]}, "of the id 2, is empty"),
        ({"categories": [{"id": 1, "name": "\u200b"}]}, "of the id 1, is empty"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": "1", "name": "b"}]}, "the ids 1 and '1', which could be"),
        ({"images": [image(7, "a.png"), image("007", "b.png")]}, "the ids 7 and '007', which could be"),
        ({"attributes": {"id": 1}}, "Each of the attributes"),
    ],
)
def test_file_of_another_form_is_refused(folder, content, message):
    with pytest.raises(ValueError, match=message):
        read_coco_detection(write(folder, **content))


def test_file_that_is_no_json_is_refused(folder):
    (folder / "x.json").write_text("{", "utf-8")
    with pytest.raises(ValueError, match=r"x\.json is no JSON"):
        read_coco_detection(folder / "x.json")


def test_ids_and_sizes_written_as_text_or_with_a_point_are_read(folder):
    images = [image("000000000001", "a.png", 40.0, "30"), image("2", "b.png", "40", 30.0)]
    categories = [{"id": "7", "name": "cat"}, {"id": "10", "name": "dog"}]
    boxes = [annotation(["1", "2.5", "10", "2e1"], 1, 7, iscrowd="0"), annotation([0, 0, 5, 5], "2", "10")]
    boxes[0]["attribute_ids"] = ["5"]
    file = write(folder, boxes, images, categories=categories, attributes=[{"id": "5", "name": "red"}])
    data = read_coco_detection(file, check_image=open_image)
    assert data.class_names == ["cat", "dog"]
    assert objects_of(data) == [{"bbox": [1, 2.5, 10, 20], "category_id": 0, "attribute_ids": [0]}]
    assert objects_of(data, 1) == [{"bbox": [0, 0, 5, 5], "category_id": 1, "attribute_ids": []}]
    assert data.dataset["image_id"][:] == [1, 2]
    assert not data.report.repairs


@pytest.mark.parametrize(
    "boxes",
    [
        [annotation([1, 2, 3, 4], iscrowd=1)] * 3,
        [annotation([1, 2, 3, 4], 9)],
        [annotation([1, 2, 3, 4], "first")],
        [annotation([1, 2, 0, 4])],
        [annotation([1, 2, 3, 4], 1, 8)],
    ],
)
@pytest.mark.parametrize("max_bad_fraction", [0.1, 1.0])
def test_file_of_which_no_box_is_left_is_refused(folder, boxes, max_bad_fraction):
    with pytest.raises(TooManyBadRowsError, match=r"All boxes.*0 of \d can be used"):
        read_coco_detection(write(folder, boxes), max_bad_fraction=max_bad_fraction)


def test_boxes_left_out_are_compared_with_the_fraction(folder):
    good = [annotation([x, 2, 10, 5]) for x in range(8)]
    file = write(folder, [*good, annotation([1, 2, 0, 5]), annotation([1, 2, 3, 4], iscrowd=1)])
    with pytest.raises(TooManyBadRowsError, match="More than 19% of the boxes are left out: 8 of 10 can be used"):
        read_coco_detection(file, max_bad_fraction=0.19)
    assert len(objects_of(read_coco_detection(file, max_bad_fraction=0.2))) == 8


def test_duplicates_are_not_among_the_bad_boxes(folder):
    data = read_coco_detection(write(folder, [annotation([1, 2, 10, 5])] * 9), max_bad_fraction=0)
    assert data.report.repairs == {"duplicate box": 8}


@pytest.mark.parametrize("name", ["cat", "animals"])
def test_heading_without_boxes_is_no_class(folder, name):
    categories = [{"id": 0, "name": name, "supercategory": "none"}]
    categories += [{"id": 1, "name": "cat", "supercategory": name}, {"id": 2, "name": "dog", "supercategory": name}]
    file = write(folder, [annotation([1, 2, 3, 4], 1, 2)], categories=categories)
    assert read_coco_detection(file).class_names == ["cat", "dog"]


def test_heading_with_boxes_and_class_without_are_classes(folder, caplog):
    categories = [
        {"id": 0, "name": "animal", "supercategory": "none"},
        {"id": 1, "name": "cat", "supercategory": "animal"},
    ]
    categories += [
        {"id": 2, "name": "fox", "supercategory": "none"},
        {"id": 3, "name": "person", "supercategory": "person"},
    ]
    data = read_coco_detection(write(folder, [annotation([1, 2, 3, 4], 1, 0)], categories=categories))
    assert data.class_names == ["animal", "cat", "fox", "person"]
    assert "3 of 4 categories have no box: cat, fox, person" in caplog.text


def test_negative_sides_are_the_other_corner(folder):
    data = read_coco_detection(write(folder, [annotation([30, 25, -10, -5]), annotation([30, 5, -10, 8])]))
    assert [item["bbox"] for item in objects_of(data)] == [[20, 20, 10, 5], [20, 5, 10, 8]]
    assert data.report.repairs == {"box reversed": 2}


@pytest.mark.parametrize("second", ["cat ", " cat", "cat\u200b", "c\u00adat", "cat\n"])
def test_names_that_look_the_same_are_one_name(folder, second):
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": second}]
    with pytest.raises(ValueError, match="Two of the categories have the same id or name"):
        read_coco_detection(write(folder, categories=categories))
    categories = [{"id": 5, "name": second}]
    file = write(folder, [annotation([1, 2, 10, 20], category_id=5)], categories=categories)
    data = read_coco_detection(file, class_names=["dog", "cat"])
    assert objects_of(data)[0]["category_id"] == 1


def test_name_in_two_unicode_forms_is_one_and_a_document_is_none(folder):
    categories = [{"id": 1, "name": "caf\u00e9"}, {"id": 2, "name": "cafe\u0301"}]
    with pytest.raises(ValueError, match="Two of the categories"):
        read_coco_detection(write(folder, categories=categories))
    with pytest.raises(ValueError, match="of the id 1, has 5,000 characters") as refused:
        read_coco_detection(write(folder, categories=[{"id": 1, "name": "x" * 5000}]))
    assert len(str(refused.value)) < 400


def test_file_under_two_ids_counts_once(folder):
    images = [image(1, "a.png"), image(2, "b.png"), image(3, "./a.png")]
    boxes = [annotation([1, 2, 10, 20]), annotation([5, 5, 9, 9], 3)]
    with pytest.raises(TooManyBadRowsError, match="1 x duplicate image"):
        read_coco_detection(write(folder, boxes, images), max_bad_fraction=0)
    data = read_coco_detection(write(folder, boxes, images), max_bad_fraction=0.4)
    assert data.dataset["image_id"] == [1, 2]
    assert data.report.counts == {"duplicate image": 1}
