from collections import Counter

import pytest
from build_emoji7_concepts import DETECTOR_CLASSES
from wenlan.data import ATTRIBUTE_NAMES, CLASS_NAMES, COLOUR_NAMES, LANGUAGES
from wenlan.data.emoji_scenes.vocabulary import SCENE_CLASSES


def test_classes_are_the_detector_classes_in_the_order_of_their_concepts():
    concepts = [one.concept for one in SCENE_CLASSES]
    assert concepts == sorted(set(concepts))
    assert set(CLASS_NAMES["en"]) == DETECTOR_CLASSES
    assert CLASS_NAMES["en"][:4] == ("volcano", "hot dog", "taco", "cactus")
    assert CLASS_NAMES["en"][-4:] == ("scissors", "airplane", "envelope", "pencil")


def test_groups_have_their_sizes():
    assert Counter(one.group for one in SCENE_CLASSES) == {
        "Animals & Nature": 46,
        "Food & Drink": 27,
        "Objects": 26,
        "Travel & Places": 21,
        "Activities": 8,
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_and_colours_are_unique_and_never_alike(language):
    assert len(set(CLASS_NAMES[language])) == len(CLASS_NAMES[language]) == 128
    assert len(set(COLOUR_NAMES[language])) == len(COLOUR_NAMES[language]) == 10


@pytest.mark.parametrize("language", ["en", "fr", "cs"])
def test_names_begin_with_a_small_letter(language):
    assert [name for name in CLASS_NAMES[language] if name[0] != name[0].lower()] == []


def test_heads_and_odd_names_are_plain_nouns():
    row = {name: [CLASS_NAMES[language][i] for language in LANGUAGES] for i, name in enumerate(CLASS_NAMES["en"])}
    assert row["wolf"] == ["狼", "wolf", "Wolf", "loup", "vlk", "オオカミ", "늑대"]
    assert row["lion"] == ["狮子", "lion", "Löwe", "lion", "lev", "ライオン", "사자"]
    assert row["frog"] == ["青蛙", "frog", "Frosch", "grenouille", "žába", "カエル", "개구리"]
    assert row["soccer ball"] == [
        "足球",
        "soccer ball",
        "Fußball",
        "ballon de football",
        "fotbalový míč",
        "サッカーボール",
        "축구공",
    ]
    assert row["basketball"][3:] == ["ballon de basket", "basketbalový míč", "バスケットボール", "농구공"]
    assert (row["necktie"][2], row["mushroom"][2], row["melon"][2]) == ("Krawatte", "Pilz", "Melone")
    assert (row["camel"][4], row["umbrella"][3]) == ("velbloud", "parapluie")
    words = {"cs": "hlava", "fr": "tête", "ja": "の顔", "ko": "얼굴"}
    assert [name for language, word in words.items() for name in CLASS_NAMES[language] if word in name] == []


def test_attributes_are_a_closed_list():
    assert ATTRIBUTE_NAMES == ("big", "small", "wide", "tall")
