import random

import pytest
from PIL import Image
from wenlan.data import CLASS_NAMES, LANGUAGES, generate_scene
from wenlan.data.emoji_scenes.captions import write_captions

CLASSES = CLASS_NAMES["en"]


def thing(name, x, size):
    side = 60 if size == "big" else 30
    return {"category_id": CLASSES.index(name), "bbox": [x - side / 2, 0, x + side / 2, side], "size": size}


def scene(*objects, background="blue"):
    return {"image": Image.new("RGB", (192, 192)), "background": background, "objects": list(objects)}


KNOWN = scene(
    thing("cat", 40, "big"), thing("wolf", 150, "small"), thing("cat", 120, "small"), thing("umbrella", 30, "small")
)
EXPECTED = {
    "zh": [
        "图中有猫×2、狼和伞，背景是蓝色。",
        "左边：猫和伞；右边：猫和狼。背景：蓝色。",
        "大的：猫；小的：猫、狼和伞。背景：蓝色。",
    ],
    "en": [
        "Picture of cat ×2, wolf and umbrella, blue background.",
        "Left: cat and umbrella. Right: cat and wolf. Background: blue.",
        "Big: cat. Small: cat, wolf and umbrella. Background: blue.",
    ],
    "de": [
        "Bild: Katze ×2, Wolf und Regenschirm. Hintergrund: Blau.",
        "Links: Katze und Regenschirm. Rechts: Katze und Wolf. Hintergrund: Blau.",
        "Groß: Katze. Klein: Katze, Wolf und Regenschirm. Hintergrund: Blau.",
    ],
    "fr": [
        "Image : chat ×2, loup et parapluie. Fond : bleu.",
        "À gauche : chat et parapluie. À droite : chat et loup. Fond : bleu.",
        "En grand : chat. En petit : chat, loup et parapluie. Fond : bleu.",
    ],
    "cs": [
        "Obrázek: kočka ×2, vlk a deštník. Barva pozadí: modrá.",
        "Vlevo: kočka a deštník. Vpravo: kočka a vlk. Barva pozadí: modrá.",
        "Velké: kočka. Malé: kočka, vlk a deštník. Barva pozadí: modrá.",
    ],
    "ja": [
        "ネコ×2、オオカミと傘の絵、背景は青。",
        "左：ネコと傘。右：ネコとオオカミ。背景：青。",
        "大きい：ネコ。小さい：ネコ、オオカミと傘。背景：青。",
    ],
    "ko": [
        "그림: 고양이 ×2, 늑대, 우산. 배경: 파란색.",
        "왼쪽: 고양이, 우산. 오른쪽: 고양이, 늑대. 배경: 파란색.",
        "큰 것: 고양이. 작은 것: 고양이, 늑대, 우산. 배경: 파란색.",
    ],
}


class FirstOrder(random.Random):
    """Keeps the order of the objects."""

    def shuffle(self, x):
        pass


@pytest.mark.parametrize("language", LANGUAGES)
def test_captions_of_a_known_scene(language):
    kinds, captions = write_captions(KNOWN, FirstOrder())
    assert kinds == ["all", "sides", "sizes"]
    assert captions[language] == EXPECTED[language]


def test_captions_of_a_scene_say_what_the_seed_draws():
    captions = generate_scene(5_000_015, text_seed="5-15")["captions"]
    assert captions["zh"][1] == "左边：钥匙；右边：钥匙×2和赛车。背景：黄色。"
    assert captions["en"][0] == "Picture of key ×3 and racing car, yellow background."


def test_sides_and_sizes_are_left_out_where_there_is_one_only():
    left = write_captions(scene(thing("cat", 20, "big"), thing("dog", 60, "small")), FirstOrder())
    big = write_captions(scene(thing("cat", 40, "big"), thing("dog", 150, "big")), FirstOrder())
    assert left[0] == ["all", "sizes"]
    assert left[1]["en"][1] == "Big: cat. Small: dog. Background: blue."
    assert big[0] == ["all", "sides"]


def test_object_in_the_very_middle_is_on_no_side():
    kinds, captions = write_captions(
        scene(thing("cat", 96, "big"), thing("dog", 60, "big"), thing("fox", 150, "big")), FirstOrder()
    )
    assert kinds == ["all", "sides"]
    assert captions["en"] == [
        "Picture of cat, dog and fox, blue background.",
        "Left: dog. Right: fox. Background: blue.",
    ]


def test_only_class_is_written_without_a_joining_word():
    captions = write_captions(scene(thing("cat", 20, "big"), thing("cat", 60, "big")), FirstOrder())[1]
    assert [captions[language][0] for language in ("zh", "en", "ja")] == [
        "图中有猫×2，背景是蓝色。",
        "Picture of cat ×2, blue background.",
        "ネコ×2の絵、背景は青。",
    ]


def word_order(caption, language):
    words = {name: CLASS_NAMES[language][CLASSES.index(name)] for name in ("cat", "wolf", "umbrella")}
    return tuple(sorted(words, key=lambda name: caption.index(words[name])))


def test_order_of_the_words_is_drawn_and_the_same_in_all_languages():
    orders = []
    for seed in range(60):
        captions = write_captions(KNOWN, random.Random(seed))[1]
        orders.append({word_order(captions[language][0], language) for language in LANGUAGES})
    assert {len(order) for order in orders} == {1}
    assert len(set().union(*orders)) == 6
