import numpy as np
import pytest
import torch
from PIL import Image
from wenlan.analysis.plots.boxes import _captions, _place_plates, draw_regions, name_regions
from wenlan.analysis.plots.fonts import load_font
from wenlan.modeling_region_detector import RegionDetectorConfig
from wenlan.processing.regions import RegionOutput

GREY = (120, 120, 120)


def grey(width=200, height=150):
    return Image.new("RGB", (width, height), GREY)


def changed(image, like=GREY):
    """Returns where the pixels differ from plain grey."""
    return (np.asarray(image) != np.array(like, dtype=np.uint8)).any(axis=2)


def plates_of(rectangles, captions, size):
    fonts = dict.fromkeys(captions, load_font(11))
    return [plate for plate, _ in _place_plates(rectangles, captions, fonts, size).values()]


def overlap(one, other):
    return min(one[2], other[2]) > max(one[0], other[0]) and min(one[3], other[3]) > max(one[1], other[1])


def test_box_is_outlined_and_its_inside_stays():
    where = changed(draw_regions(grey(), [[20, 30, 120, 100]]))
    assert where[30:100, 20].all()
    assert where[30:100, 119].all()
    assert where[30, 20:120].all()
    assert where[99, 20:120].all()
    assert not where[40:90, 30:110].any()
    assert not where[:30].any()
    assert not where[100:].any()
    assert not where[:, :20].any()
    assert not where[:, 120:].any()


def test_image_itself_is_not_changed():
    image = grey()
    draw_regions(image, [[20, 30, 120, 100]], labels=["cat"])
    assert not changed(image).any()


def test_zero_boxes_leave_the_image():
    for boxes in ([], np.zeros((0, 4)), torch.zeros(0, 4)):
        assert not changed(draw_regions(grey(), boxes, labels=[], scores=[])).any()


def test_one_pixel_image_is_drawn():
    drawn = draw_regions(Image.new("RGB", (1, 1), GREY), [[0, 0, 1, 1]], labels=["cat"], scores=[0.5])
    assert drawn.size == (1, 1)
    assert changed(drawn).all()


@pytest.mark.parametrize("size", [(10_000, 40), (40, 2_000), (3, 300)])
def test_panoramas_and_slivers_are_drawn(size):
    drawn = draw_regions(grey(*size), [[0, 0, *size]], labels=["a cat with a long name"], scores=[0.5])
    assert drawn.size == size
    assert changed(drawn).any()


@pytest.mark.parametrize("box", [[5, 5, 5, 5], [5, 5, 6, 6], [5, 5, 7, 9], [5, 5, 50, 6], [-50, -50, 500, 500]])
def test_slight_and_overlarge_boxes_are_drawn(box):
    assert changed(draw_regions(grey(), [box])).any()


@pytest.mark.parametrize("box", [[200, 0, 300, 50], [0, 150, 50, 200], [-20, -20, 0, 0]])
def test_box_outside_the_image_is_not_drawn(box):
    assert not changed(draw_regions(grey(), [box], labels=["cat"])).any()


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "CMYK", "P", "I;16"])
def test_every_mode_is_drawn_in_colour(mode):
    assert draw_regions(Image.new(mode, (60, 60)), [[9, 9, 50, 50]], labels=["cat"]).mode == "RGB"


def test_plates_stay_in_the_image():
    rng = np.random.default_rng(0)
    near = rng.integers(0, 190, (40, 2))
    rectangles = [(x, y, x + 10, y + 10) for x, y in near.tolist()]
    plates = plates_of(rectangles, ["a cat with quite a long name 87%"] * 40, (200, 200))
    assert len(plates) == 40
    assert all(0 <= x1 < x2 <= 200 and 0 <= y1 < y2 <= 200 for x1, y1, x2, y2 in plates)


def test_plates_of_equal_boxes_keep_clear_of_one_another():
    plates = plates_of([(50, 60, 150, 160)] * 6, ["cat 87%"] * 6, (200, 200))
    assert not any(overlap(one, other) for row, one in enumerate(plates) for other in plates[:row])


def test_label_too_long_for_the_image_ends_in_an_ellipsis():
    name = "a cat with a long name"
    ((plate, text),) = _place_plates([(0, 0, 60, 60)], [name], {name: load_font(11)}, (60, 60)).values()
    assert text.startswith("a c")
    assert text.endswith("…")
    assert plate[2] <= 60


def test_caption_says_attribute_name_and_probability():
    captions = _captions(2, ["car", "tree"], torch.tensor([0.874, 1.0]), ["red", ""])
    assert captions == ["red car 87%", "tree 100%"]


def test_class_has_one_colour_in_every_image():
    first = draw_regions(grey(), [[20, 60, 120, 100]], labels=["cat"])
    second = draw_regions(grey(), [[0, 0, 10, 10], [20, 60, 120, 100]], labels=["dog", "cat"])
    assert first.getpixel((119, 80)) == second.getpixel((119, 80))
    assert second.getpixel((9, 9)) != second.getpixel((119, 80))


@pytest.mark.parametrize("ground", ["black", "white", "red", "lime", "blue"])
def test_letters_and_lines_stand_out_on_any_ground(ground):
    image = draw_regions(Image.new("RGB", (200, 150), ground), [[20, 60, 120, 100]], labels=["cat"])
    luminance = np.asarray(image.convert("L"), dtype=float)
    plate = luminance[44:60, 20:40]
    assert plate.max() - plate.min() > 100
    assert luminance[80, 110:122].max() - luminance[80, 110:122].min() > 40


def test_scale_enlarges_image_and_boxes():
    drawn = draw_regions(grey(20, 15), [[2, 3, 12, 10]], scale=10)
    assert drawn.size == (200, 150)
    assert changed(drawn)[30:100, 20].all()


def test_chinese_japanese_and_korean_names_are_drawn():
    names = ["猫", "自転車", "자동차"]
    drawings = [draw_regions(grey(), [[20, 60, 180, 140]], labels=[name], scale=2) for name in names]
    assert len({drawing.tobytes() for drawing in drawings}) == 3


def test_each_name_is_drawn_in_a_font_that_has_its_letters():
    boxes, czech = [[20, 60, 120, 100], [220, 60, 320, 100]], "žluťoučký kůň"
    both = draw_regions(grey(400), boxes, labels=[czech, "猫"])
    left = draw_regions(grey(400), boxes[:1], labels=[czech], font=load_font(text=czech).path)
    right = draw_regions(grey(400), boxes[1:], labels=["猫"])
    assert both.crop((0, 0, 200, 150)) == left.crop((0, 0, 200, 150))
    assert both.crop((200, 0, 400, 150)) == right.crop((200, 0, 400, 150))


def test_letters_that_the_font_lacks_are_named(only_pillow):
    with pytest.raises(ValueError, match=r"lacks 猫.*wenlan\[demo\]"):
        draw_regions(grey(), [[20, 60, 120, 100]], labels=["cat 猫"])
    assert changed(draw_regions(grey(), [[20, 60, 120, 100]], labels=["cat"]))[44:60].any()


def test_font_can_be_given_and_must_exist(tmp_path):
    path = load_font(11).path
    given = draw_regions(grey(), [[20, 60, 120, 100]], labels=["cat"], font=path)
    assert changed(given).any()
    with pytest.raises(FileNotFoundError, match=r"none\.ttf"):
        draw_regions(grey(), [], font=tmp_path / "none.ttf")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"boxes": [[0, 0, 9, 9], [0, 0, float("nan"), 9]]}, "Box 1"),
        ({"boxes": [[9, 0, 0, 9]]}, "Box 0"),
        ({"boxes": [[0, 0, 9]]}, r"shape \(1, 3\)"),
        ({"boxes": [[0, 0, 9, 9]], "labels": ["a", "b"]}, "2 labels for 1 boxes"),
        ({"boxes": [[0, 0, 9, 9]], "scores": []}, "0 scores for 1 boxes"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        draw_regions(grey(), **arguments)


def test_row_of_an_extractor_is_drawn_with_its_names():
    changes = {"num_objects": 2, "num_attributes": 2, "attribute_names": ["red", "big"]}
    config = RegionDetectorConfig.from_variant("bua", changes | {"id2label": {0: "cat", 1: "dog"}})
    output = RegionOutput(
        boxes=torch.tensor([[[0.0, 0, 9, 9], [0, 0, 0, 0]], [[1.0, 1, 50, 50], [2, 2, 60, 60]]]),
        attention_mask=torch.tensor([[1, 0], [1, 1]]),
        object_ids=torch.tensor([[1, 0], [1, 0]]),
        object_scores=torch.tensor([[0.9, 0.0], [0.8, 0.7]]),
        attribute_ids=torch.tensor([[0, 0], [1, 0]]),
    )
    first, second = (name_regions(output, config, row=row) for row in (0, 1))
    assert first["labels"] == ["dog"]
    assert first["attributes"] == ["red"]
    assert len(first["boxes"]) == 1
    assert second["labels"] == ["dog", "cat"]
    assert second["attributes"] == ["big", "red"]
    assert changed(draw_regions(grey(), **second)).any()
