import pytest
from PIL import Image
from wenlan.data import load_emoji7
from wenlan.training.retrieval.leakage import find_leaks

CAT, DOG = (row["image"].convert("RGB") for row in load_emoji7()["test"].select([316, 309]))


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


def test_path_that_is_judged_on_itself_is_found(save):
    path = save("1.png", CAT)
    assert find_leaks([path, save("2.png", DOG)], [path]) == ({path}, set())
