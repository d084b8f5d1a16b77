import unicodedata

import pytest
from wenlan.data.regions.lookup import RegionFinder

PLACES = {"0.png": 0, "cats/1.png": 1, "1.png": 2}


@pytest.mark.parametrize(("path", "place"), [("0.png", 0), ("images/a/0.png", 0), ("a/cats/1.png", 1), ("1.png", 2)])
def test_image_is_found_by_its_name_or_the_longest_end_of_its_path(path, place):
    assert RegionFinder(PLACES, "captions.jsonl").find(path) == place


@pytest.mark.parametrize("path", ["2.png", "images/2.png", "10.png", ""])
def test_image_without_regions_is_minus_one(path):
    assert RegionFinder(PLACES, "captions.jsonl").find(path) == -1


def test_same_path_is_found_again():
    finder = RegionFinder(PLACES, "captions.jsonl")
    assert [finder.find("a/0.png") for _ in range(2)] == [0, 0]


def test_two_paths_that_fit_the_same_regions_are_refused():
    finder = RegionFinder(PLACES, "captions.jsonl")
    finder.find("a/0.png")
    with pytest.raises(ValueError, match=r"captions\.jsonl: a/0\.png and b/0\.png both fit the regions of 0\.png"):
        finder.find("b/0.png")


def test_names_fit_in_either_unicode_form():
    forms = [unicodedata.normalize(form, "写真/が.png") for form in ("NFC", "NFD")]
    for stored in forms:
        finder = RegionFinder({"0.png": 0, stored: 1}, "captions.jsonl")
        assert [finder.find(path) for path in forms] == [1, 1]
        assert RegionFinder({stored: 1}, "captions.jsonl").find(f"images/{forms[0]}") == 1
    both = RegionFinder({forms[0]: 0, forms[1]: 1}, "captions.jsonl")
    assert [both.find(path) for path in forms] == [0, 1]
