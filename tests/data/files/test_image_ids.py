import unicodedata

import pytest
from wenlan.data.files.image_ids import canonical_image_id, find_file


@pytest.mark.parametrize(
    "name",
    [
        42,
        "42",
        "000000000042.jpg",
        "train2014/COCO_train2014_000000000042.jpg",
        "COCO_val2014_000000000042",
        "COCO_train2014_000000000042.jpg#367178",
    ],
)
def test_all_names_of_a_image_of_coco_are_one_id(name):
    assert canonical_image_id(name, "coco") == "coco:42"


@pytest.mark.parametrize("name", ["COCO_train2014_000000000042.jpg#1", "train2017/000000000042.jpg"])
def test_name_as_coco_gives_it_is_of_coco_in_every_collection(name):
    assert canonical_image_id(name, "flickr30k") == canonical_image_id(name) == "coco:42"


def test_equal_numbers_of_two_collections_are_two_images():
    assert (
        canonical_image_id("42.jpg", "flickr30k")
        != canonical_image_id("42.jpg", "coco")
        != canonical_image_id(42, "visual_genome")
    )


def test_images_without_a_collection_differ_by_their_folders():
    assert canonical_image_id("cats/1.jpg") != canonical_image_id("dogs/1.jpg")
    assert canonical_image_id("./cats/1.jpg") == canonical_image_id("cats/1.jpg#3")


def test_name_that_is_no_number_stays_as_it_is():
    assert canonical_image_id("photo.jpg", "coco") == "coco:photo"


def test_name_is_one_id_in_either_unicode_form():
    forms = [unicodedata.normalize(form, "が/é.png") for form in ("NFC", "NFD")]
    assert canonical_image_id(forms[0]) == canonical_image_id(forms[1], "")
    assert canonical_image_id(forms[1], "flickr30k") == "flickr30k:é"


def test_file_is_found_with_each_folder_in_its_own_form(tmp_path):
    path = tmp_path / unicodedata.normalize("NFD", "が") / unicodedata.normalize("NFC", "é") / "a.png"
    path.parent.mkdir(parents=True)
    path.touch()
    for form in ("NFC", "NFD"):
        assert find_file(str(tmp_path / unicodedata.normalize(form, "が/é/a.png"))) == str(path)
    assert find_file("が/é.png") == "が/é.png"  # not there: as it was given
