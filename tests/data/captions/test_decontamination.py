import pytest
from helpers.finetuning.caption_files import write_coco, write_coco_cn, write_karpathy
from wenlan.data import Decontaminator, LeakError, read_captions


def row(image_id, split="train", **fields):
    return {"image_id": image_id, "split": split, **fields}


def ids(rows):
    return [one["image_id"] for one in rows]


def test_test_images_of_every_language_leave_every_training_list(tmp_path):
    splits = write_karpathy(tmp_path / "dataset_coco.json")
    english = read_captions("coco", splits)
    japanese = read_captions("stair", write_coco(tmp_path / "stair"), split_file=splits)
    chinese = read_captions("coco-cn", write_coco_cn(tmp_path / "coco-cn"))
    guard = Decontaminator()
    sources = {"en": english, "ja": japanese, "zh": chinese}
    for name, rows in sources.items():
        guard.add_test_set(name, rows)
    kept = {
        name: [one for one in guard.subtract(name, rows) if one["split"] == "train"] for name, rows in sources.items()
    }
    assert {name: ids(rows) for name, rows in kept.items()} == {
        "en": ["coco:1", "coco:3"],  # 2 is a test image of COCO-CN
        "ja": ["coco:1", "coco:3"],
        "zh": ["coco:1"],
    }
    assert guard.removed == {"en train": {"coco:2": 1}, "ja train": {"coco:2": 1}}
    assert str(guard).splitlines() == [
        "Test sets: en (2 images), ja (2 images), zh (2 images)",
        "  en train: 1 test images left out (1 of 3 rows): 1 of zh",
        "  en val: 0 test images left out",
        "  ja train: 1 test images left out (1 of 3 rows): 1 of zh",
        "  ja val: 0 test images left out",
        "  zh train: 0 test images left out",
        "  zh val: 0 test images left out",
    ]


def test_validation_lists_lose_test_images_and_tests_lose_none():
    guard = Decontaminator()
    guard.add_test_set("a", [row("1", "test"), row("2", "test_2017"), row("3")])
    kept = guard.subtract("b", [row("1", "val"), row("1", "test"), row("2", "test"), row("3", "val")])
    assert [(one["image_id"], one["split"]) for one in kept] == [("1", "test"), ("2", "test"), ("3", "val")]
    assert guard.removed == {"b val": {"1": 1}}


def test_questions_about_test_images_go_and_are_counted_as_rows():
    guard = Decontaminator()
    guard.add_test_set("coco", [row("coco:5", "test")])
    questions = [row("coco:5", "val2014", question_id=n) for n in range(3)] + [row("coco:6", "val2014", question_id=9)]
    assert ids(guard.subtract("vqa", questions)) == ["coco:6"]
    assert "vqa val2014: 1 test images left out (3 of 4 rows): 1 of coco" in str(guard)


def test_strict_guard_raises_with_image_list_and_test_set():
    guard = Decontaminator(strict=True)
    guard.add_test_set("coco-cn", [row("coco:2", "test")])
    with pytest.raises(LeakError, match="coco:2 is in the list stair train and in the test set coco-cn"):
        list(guard.subtract("stair", [row("coco:1"), row("coco:2")]))
    assert ids(guard.subtract("clean", [row("coco:1")])) == ["coco:1"]


def test_test_set_without_test_images_is_refused():
    with pytest.raises(ValueError, match="test set a has no row of a split whose name begins with 'test'"):
        Decontaminator().add_test_set("a", [row("1", "val")])
