"""Drawn scenes, their regions and the words that name them."""

import pytest
import torch
from wenlan.analysis.region_attention.scenes import build_scene, draw_scenes
from wenlan.data import LANGUAGES
from wenlan.data.emoji_scenes.vocabulary import CLASS_NAMES


@pytest.fixture(scope="module")
def drawn():
    return next(iter(draw_scenes(1, seed=3)))


def row_of(boxes):
    return {"image_height": 192, "image_width": 192, "boxes": torch.tensor(boxes)}


def test_words_of_each_language_name_the_same_classes_in_one_order(drawn):
    scene = build_scene(drawn, row_of([drawn["objects"][0]["bbox"]]))
    assert set(scene.texts) == set(LANGUAGES)
    for language, spans in scene.spans.items():
        named = [scene.texts[language][first:last] for first, last in spans]
        assert named == [CLASS_NAMES[language][one] for one in scene.classes]


def test_region_has_the_class_of_the_thing_that_it_fits_or_none(drawn):
    boxes = [thing["bbox"] for thing in drawn["objects"]]
    x1, y1, x2, y2 = boxes[0]
    half = [x1, y1, x1 + 0.4 * (x2 - x1), y2]
    scene = build_scene(drawn, row_of([*boxes, half]))
    expected = [thing["category_id"] for thing in drawn["objects"]]
    assert scene.region_classes.tolist() == [*expected, -1]
    assert scene.is_of_class.sum(dim=0).tolist() == [1] * len(boxes) + [0]


def test_largest_class_is_that_of_the_largest_box(drawn):
    scene = build_scene(drawn, row_of([drawn["objects"][0]["bbox"]]))
    areas = {(x2 - x1) * (y2 - y1): thing for thing in drawn["objects"] for x1, y1, x2, y2 in [thing["bbox"]]}
    assert scene.largest_class == areas[max(areas)]["category_id"]


def test_scenes_are_those_of_the_seed():
    ids = [[scene["image_id"] for scene in draw_scenes(3, seed=seed)] for seed in (0, 0, 1)]
    assert ids[0] == ids[1]
    assert not set(ids[0]) & set(ids[2])


def test_number_out_of_range_is_named():
    with pytest.raises(ValueError, match="0 scenes; give 1 to"):
        next(iter(draw_scenes(0)))
