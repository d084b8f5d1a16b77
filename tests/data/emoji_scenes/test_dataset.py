import os
import subprocess
import sys

import pytest
from datasets import ClassLabel
from wenlan.data import (
    CLASS_NAMES,
    LANGUAGES,
    generate_scene,
    generate_scenes,
    load_emoji_scenes,
    scene_seed,
    text_seed,
)
from wenlan.data.emoji_scenes.dataset import SPLIT_SEEDS, SPLIT_SIZES, split_size, split_styles
from wenlan.data.emoji_scenes.scene import scene_key

SMALL = {"num_classes": 16, "canvas": 128}
DIGEST = """
import hashlib, json, random
from wenlan.data import ask_questions, generate_scenes
state = hashlib.sha256()
for row in generate_scenes("test", 12):
    state.update(row.pop("image").tobytes())
    questions = ask_questions(row, random.Random("a"))
    state.update(json.dumps([row, [q.text("ja") + q.answer("en") for q in questions]]).encode())
print(state.hexdigest())
"""


def without_image(row):
    return {name: value for name, value in row.items() if name != "image"}


def test_rows_of_the_dataset_are_the_generated_ones(tmp_path):
    dataset = load_emoji_scenes("test", 8, cache_dir=tmp_path)
    for row, generated in zip(dataset, generate_scenes("test", 8), strict=True):
        assert row["image"].tobytes() == generated["image"].tobytes()
        assert without_image(row) == without_image(generated)
    assert dataset.split == "test"


def test_features_know_the_names_of_the_classes(tmp_path):
    dataset = load_emoji_scenes("detect", 2, cache_dir=tmp_path)
    one = dataset.features["objects"].feature
    assert one["category_id"] == ClassLabel(names=list(CLASS_NAMES["en"]))
    assert one["attributes"].feature.names == ["big", "small", "wide", "tall"]
    assert list(dataset[0]["captions"]) == list(LANGUAGES)


def test_second_call_reads_the_cache(tmp_path):
    first = load_emoji_scenes("test", 3, cache_dir=tmp_path, **SMALL)
    files = {file["filename"]: os.stat(file["filename"]).st_mtime_ns for file in first.cache_files}
    again = load_emoji_scenes("test", 3, cache_dir=tmp_path, **SMALL)
    assert {file["filename"]: os.stat(file["filename"]).st_mtime_ns for file in again.cache_files} == files
    other = load_emoji_scenes("test", 3, cache_dir=tmp_path)
    assert other[0]["image"].size == (192, 192)


def test_other_processes_draw_the_same_whatever_their_hash_seed():
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "random")
    }
    assert len(digests) == 1
    assert len(digests.pop()) == 65


def test_row_of_a_training_split_is_found_by_its_number():
    rows = list(generate_scenes("pretrain", 6))
    row = generate_scene(scene_seed("pretrain", 5), text_seed=text_seed("pretrain", 5))
    assert row.pop("image").tobytes() == rows[5].pop("image").tobytes()
    assert row == rows[5]


def test_ids_are_unique_over_splits_and_tell_the_seed():
    ids = {split: [row["image_id"] for row in generate_scenes(split, 3)] for split in SPLIT_SEEDS}
    assert ids["test"] == [5_000_015, 5_000_016, 5_000_017]
    assert len({image_id for split in ids.values() for image_id in split}) == 3 * len(SPLIT_SEEDS)


def test_first_scenes_are_the_same_at_every_size():
    few, many = ([without_image(row) for row in generate_scenes("test", size, **SMALL)] for size in (5, 20))
    assert few == many[:5]


@pytest.mark.parametrize("split", SPLIT_SEEDS)
def test_unseen_style_is_in_its_own_split_only(split):
    styles = {one["style"] for row in generate_scenes(split, 12) for one in row["objects"]}
    expected = {"fluent3d"} if split == "test_style" else {"noto", "twemoji", "notov1", "emojitwo"}
    assert styles == expected
    assert set(split_styles(split)) == expected


@pytest.mark.parametrize("split", ["validation", "test", "test_style"])
def test_no_two_scenes_of_an_evaluation_split_share_classes_and_background(split):
    options = {"num_classes": 6, "canvas": 128}
    rows = list(generate_scenes(split, 300, **options))
    assert len({scene_key(row) for row in rows}) == 300
    moved = [row for row in rows if row["seed"] != row["image_id"]]
    assert len(moved) > 20  # six classes alone do repeat themselves
    again = generate_scene(moved[0]["seed"], styles=split_styles(split), **options)
    assert again["image"].tobytes() == moved[0]["image"].tobytes()


def test_evaluation_split_that_cannot_grow_is_refused(monkeypatch):
    monkeypatch.setattr("wenlan.data.emoji_scenes.dataset.MAX_REPETITIONS", 0)
    with pytest.raises(ValueError, match=r"test has no \d+ different scenes; take fewer, or more classes"):
        list(generate_scenes("test", 300, num_classes=6, canvas=128))


def test_training_split_may_repeat_classes_and_background():
    rows = list(generate_scenes("detect", 300, num_classes=6, canvas=128))
    assert len({scene_key(row) for row in rows}) < 300


def test_presets_have_the_sizes_of_the_card():
    assert {size: sum(splits.values()) for size, splits in SPLIT_SIZES.items()} == {
        "tests": 550,
        "cpu": 8800,
        "gpu": 143_000,
    }
    assert split_size("detect", "gpu") == 20_000
    assert len(list(generate_scenes("test", "tests", **SMALL))) == 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", 3), "no split 'train'; it has detect, pretrain, finetune, validation, test, test_style"),
        (("test", "big"), "size is 'big'; give a number or one of tests, cpu, gpu"),
        (("test", 0), "size is 0; a split has 1 to 1000003 scenes"),
        (("test", 1_000_004), "size is 1000004"),
    ],
)
@pytest.mark.parametrize("make", [load_emoji_scenes, lambda *arguments: next(generate_scenes(*arguments))])
def test_unknown_splits_and_sizes_are_refused(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(*arguments)


def test_wrong_option_is_refused_before_anything_is_cached(tmp_path):
    with pytest.raises(ValueError, match="canvas is 12 pixels"):
        load_emoji_scenes("test", 3, canvas=12, cache_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []
