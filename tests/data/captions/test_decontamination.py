import pytest
from helpers.finetuning.caption_files import write_coco, write_coco_cn, write_karpathy
from PIL import Image
from wenlan.data import Decontaminator, LeakError, load_emoji7, read_captions
from wenlan.data.captions.decontamination import PathDecontaminator
from wenlan.processing.image_decoding import decode_image

CAT, DOG = (row["image"].convert("RGB") for row in load_emoji7()["test"].select([316, 309]))


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


def find_leaks(training, evaluated):
    """Return the paths whose image is evaluated on, and those that only have the name of such an image."""
    guard = PathDecontaminator(decode_image)
    guard.add_images("test", evaluated)
    return {path for path in training if guard.is_leak("train", path)}, guard.namesakes


@pytest.fixture
def save(tmp_path):
    """Saves an image below a folder; returns the path."""

    def save(name, image, *, size=96, **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.resize((size, size), Image.Resampling.BICUBIC).save(path, **options)
        return str(path)

    return save


def test_images_of_one_name_in_two_folders_are_told_apart(save):
    cat, dog = save("cats/1.png", CAT), save("dogs/1.png", DOG)
    assert find_leaks([cat], [dog]) == (set(), {cat})


@pytest.mark.parametrize("other", ["images/000001.png", "1.jpg", "images/1.png"])
def test_image_is_found_in_another_folder_by_name_or_number(save, other):
    training = save("train/1.png", CAT)
    assert find_leaks([training], [save(f"test/{other}", CAT)]) == ({training}, set())


def test_image_is_found_among_others_of_its_name(save):
    training = save("train/one/photo.png", CAT)
    evaluated = [save("test/a/photo.png", DOG), save("test/b/photo.png", CAT)]
    assert find_leaks([training], evaluated) == ({training}, set())


@pytest.mark.parametrize(("size", "quality"), [(48, 75), (32, 75), (192, 30)])
def test_smaller_or_compressed_copy_is_found(save, size, quality):
    training = save("flickr30k-images/1000092795.jpg", CAT, size=size, quality=quality)
    assert find_leaks([training], [save("images/1000092795.jpg", CAT)]) == ({training}, set())


@pytest.mark.parametrize("name", ["train2014/COCO_train2014_000000000042.jpg", "train2017/000000000042.jpg"])
@pytest.mark.parametrize("other", ["images/000000000042.jpg", "val2014/COCO_val2014_000000000042.jpg"])
def test_number_of_coco_is_enough_whatever_the_image_looks_like(save, name, other):
    training = save(name, CAT)
    assert find_leaks([training], [save(other, DOG)]) == ({training}, set())


def test_number_that_is_not_written_as_coco_does_is_looked_at(save):
    training = [save("42.jpg", DOG), save("copy/42.jpg", CAT)]
    assert find_leaks(training, [save("COCO_val2014_000000000042.jpg", CAT)]) == ({training[1]}, {training[0]})


def test_images_of_other_names_are_not_opened(tmp_path):
    assert find_leaks([str(tmp_path / "1.jpg")], [str(tmp_path / "2.jpg")]) == (set(), set())


def test_path_that_is_evaluated_on_itself_is_found(save):
    path = save("1.png", CAT)
    assert find_leaks([path, save("2.png", DOG)], [path]) == ({path}, set())
