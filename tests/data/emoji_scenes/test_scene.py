import itertools
import random
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from wenlan.data import ATTRIBUTE_NAMES, CLASS_NAMES
from wenlan.data.emoji_scenes.backgrounds import BACKGROUND_KINDS, COLOURS, RGB
from wenlan.data.emoji_scenes.objects import TRAIN_STYLES, VISIBLE, draw_object, styles_of_class
from wenlan.data.emoji_scenes.scene import REDRAW_STEP, draw_scene, scene_key


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(seed) for seed in range(300)]


@pytest.fixture(scope="module")
def objects(scenes):
    return [one for scene in scenes for one in scene["objects"]]


def redraw(one):
    """The image of an object, from nothing but its record."""
    x1, y1, x2, y2 = one["bbox"]
    looks = {name: one[name] for name in ("style", "flipped", "angle")}
    longest = int(max(x2 - x1, y2 - y1))
    images = [draw_object(one["category_id"], side=side, **looks) for side in (longest, longest + 1)]
    return next(image for image in images if image.size == (x2 - x1, y2 - y1))


def test_boxes_are_exactly_the_visible_pixels_of_the_objects(objects):
    for one in objects:
        canvas = Image.new("RGBA", (192, 192))
        canvas.paste(redraw(one), tuple(map(int, one["bbox"][:2])))
        y, x = np.nonzero(np.asarray(canvas)[..., 3] > VISIBLE)
        assert one["bbox"] == [x.min(), y.min(), x.max() + 1, y.max() + 1]


def test_image_is_the_background_and_the_objects_and_nothing_else(scenes):
    flat = [scene for scene in scenes if scene["background_kind"] == "flat"]
    assert len(flat) > 30
    for scene in flat:
        canvas = Image.new("RGB", (192, 192), RGB[scene["background"]])
        for one in scene["objects"]:
            canvas.paste(redraw(one), tuple(map(int, one["bbox"][:2])), redraw(one))
        assert canvas.tobytes() == scene["image"].tobytes()


def test_boxes_lie_inside_and_do_not_overlap(scenes):
    for scene in scenes:
        boxes = [one["bbox"] for one in scene["objects"]]
        assert all(0 <= x1 < x2 <= 192 and 0 <= y1 < y2 <= 192 for x1, y1, x2, y2 in boxes)
        for a, b in itertools.combinations(boxes, 2):
            assert min(a[2], b[2]) < max(a[0], b[0]) or min(a[3], b[3]) < max(a[1], b[1])


def test_same_seed_gives_the_same_scene_whatever_was_drawn_before():
    first = draw_scene(11)
    random.seed(0)
    draw_scene(12)
    again = draw_scene(11)
    assert first.pop("image").tobytes() == again.pop("image").tobytes()
    assert first == again


def test_scene_of_a_seed_is_known():
    scene = draw_scene(5_000_015)
    assert (scene["background"], scene["background_kind"]) == ("yellow", "gradient")
    assert [(CLASS_NAMES["en"][one["category_id"]], one["bbox"]) for one in scene["objects"]] == [
        ("racing car", [98.0, 96.0, 131.0, 112.0]),
        ("key", [90.0, 116.0, 153.0, 182.0]),
        ("key", [83.0, 31.0, 135.0, 93.0]),
        ("key", [43.0, 149.0, 75.0, 181.0]),
    ]


def test_drawing_leaves_the_global_generators_alone():
    states = random.getstate(), np.random.get_state()[1].tolist()
    draw_scene(3)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states


def test_numbers_of_objects_and_repetitions_follow_their_weights(scenes):
    counts = Counter(len(scene["objects"]) for scene in scenes)
    assert sorted(counts) == [2, 3, 4, 5, 6]
    assert counts[3] + counts[4] > counts[2] + counts[5] + counts[6]
    times = [Counter(one["category_id"] for one in scene["objects"]).most_common() for scene in scenes]
    assert all(others <= 1 for (_, _), *rest in times for _, others in rest)  # one class at most is repeated
    repeated = sum(most[0][1] > 1 for most in times) / sum(len(scene["objects"]) > 2 for scene in scenes)
    assert repeated == pytest.approx(0.55, abs=0.1)
    assert {most[0][1] for most in times} == {1, 2, 3, 4}


def test_everything_that_can_be_drawn_is_drawn(scenes, objects):
    assert {scene["background"] for scene in scenes} == set(COLOURS)
    assert {scene["background_kind"] for scene in scenes} == set(BACKGROUND_KINDS)
    assert {one["style"] for one in objects} == set(TRAIN_STYLES)
    assert {one["category_id"] for one in objects} == set(range(128))
    assert sum(one["flipped"] for one in objects) / len(objects) == pytest.approx(0.3, abs=0.05)
    assert all(abs(one["angle"]) <= 12 for one in objects)


def test_attributes_can_be_read_off_the_box(objects):
    for one in objects:
        x1, y1, x2, y2 = one["bbox"]
        width, height = x2 - x1, y2 - y1
        expected = {"big" if max(width, height) > 45 else "small"}
        expected |= {"wide"} if width / height >= 1.25 else {"tall"} if height / width >= 1.25 else set()
        assert {ATTRIBUTE_NAMES[i] for i in one["attributes"]} == expected
        assert one["size"] in expected
        assert 29 <= max(width, height) <= 38 or 59 <= max(width, height) <= 72


def test_classes_are_drawn_only_in_styles_that_have_them():
    scenes = [draw_scene(seed, styles=("notov1",)) for seed in range(40)]
    drawn = {(one["category_id"], one["style"]) for scene in scenes for one in scene["objects"]}
    assert {style for _, style in drawn} == {"notov1"}
    assert all("notov1" in styles_of_class(category_id) for category_id, _ in drawn)


def test_small_scenes_of_few_classes_have_at_least_two_objects():
    scenes = [draw_scene(seed, num_classes=16, canvas=128) for seed in range(150)]
    assert {scene["image"].size for scene in scenes} == {(128, 128)}
    assert {one["category_id"] for scene in scenes for one in scene["objects"]} == set(range(16))
    assert min(len(scene["objects"]) for scene in scenes) == 2
    assert all(max(one["bbox"]) <= 128 for scene in scenes for one in scene["objects"])


def test_scene_without_room_is_drawn_from_the_next_seed():
    tight = [(seed, draw_scene(seed, canvas=128)) for seed in range(400)]
    moved = [(seed, scene) for seed, scene in tight if scene["seed"] != seed]
    assert moved
    for seed, scene in moved:
        assert (scene["seed"] - seed) % REDRAW_STEP == 0
        assert draw_scene(scene["seed"], canvas=128)["objects"] == scene["objects"]


def test_key_is_blind_to_places_and_order_only():
    scene = draw_scene(4)
    moved = scene | {"objects": [one | {"bbox": [0.0, 0.0, 9.0, 9.0]} for one in reversed(scene["objects"])]}
    assert scene_key(moved) == scene_key(scene)
    assert scene_key(scene | {"background": "none"}) != scene_key(scene)
    assert scene_key(scene | {"objects": scene["objects"][:1] + scene["objects"]}) != scene_key(scene)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"styles": ("apple",)}, r"apple.*noto, twemoji"),
        ({"styles": "noto"}, "give a list"),
        ({"styles": ()}, "give a list"),
        ({"num_classes": 5}, "num_classes is 5; it must be 6 to 128"),
        ({"num_classes": 129}, "num_classes is 129"),
        ({"canvas": 127}, "canvas is 127 pixels; it must be 128 to 2048"),
        ({"canvas": 5000}, "canvas is 5000"),
    ],
)
def test_impossible_scenes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        draw_scene(**{"seed": 0} | options)
