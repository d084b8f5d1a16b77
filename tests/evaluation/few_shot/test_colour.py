import numpy as np
import pytest
from PIL import Image
from wenlan.evaluation.few_shot.colour import (
    COLOURS,
    WORDS,
    ColouredNames,
    colour_accuracies,
    coloured_names,
    hue_fractions,
)

COUNT, DIM = 20, 32


@pytest.fixture
def concepts():
    names = [f"物{number}" for number in range(5 * COUNT)]
    return ColouredNames(names, list(range(100, 100 + 5 * COUNT)), np.repeat(np.arange(5), COUNT))


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def embeddings(concepts, signal, seed=0):
    """Texts around a direction for each colour, and that direction as the image of each thing."""
    rng = np.random.default_rng(seed)
    directions = unit(rng.normal(size=(5, DIM)))
    texts = unit(signal * directions[concepts.colours] + unit(rng.normal(size=(len(concepts.names), DIM))))
    return texts, lambda ids: directions[[concepts.colours[one - 100] for one in ids]]


@pytest.mark.parametrize(
    ("pixel", "colour"),
    [
        ((220, 30, 30), "red"),
        ((230, 200, 20), "yellow"),
        ((250, 140, 20), "yellow"),
        ((40, 160, 50), "green"),
        ((40, 90, 220), "blue"),
        ((150, 60, 220), "purple"),
        ((230, 40, 120), "red"),
    ],
)
def test_hue_of_a_pixel_is_in_its_bin(pixel, colour):
    fractions, coloured = hue_fractions(Image.new("RGB", (4, 4), pixel))
    assert list(COLOURS)[fractions.argmax()] == colour
    assert (fractions.max(), coloured) == (1, 1)


def test_grey_dark_and_transparent_pixels_do_not_count():
    image = Image.new("RGBA", (4, 1), (220, 30, 30, 255))
    for place, pixel in enumerate([(128, 128, 128, 255), (20, 2, 2, 255), (40, 90, 220, 0)]):
        image.putpixel((place, 0), pixel)
    fractions, coloured = hue_fractions(image)
    assert fractions.tolist() == [1, 0, 0, 0, 0]
    assert coloured == pytest.approx(1 / 3)
    assert hue_fractions(Image.new("RGBA", (2, 2)))[0].tolist() == [0] * 5


def test_draw_has_one_name_for_each_colour(concepts):
    draws = [concepts.draw(number) for number in range(3)]
    assert all(concepts.colours[draw].tolist() == [0, 1, 2, 3, 4] for draw in draws)
    assert len({tuple(draw) for draw in draws}) == 3
    assert concepts.draw(1).tolist() == draws[1].tolist()


def test_texts_that_know_the_colour_are_found_and_permuted_images_mislead(concepts):
    texts, images = embeddings(concepts, signal=0.7)
    found = {method: np.mean(values) for method, values in colour_accuracies(concepts, texts, images, draws=8).items()}
    assert found["visual only"] > 0.9
    assert found["both"] > found["text only"] > 0.6
    assert found["both"] > found["both, permuted"] + 0.05


def test_texts_that_know_nothing_stay_at_chance(concepts):
    texts, images = embeddings(concepts, signal=0)
    found = colour_accuracies(concepts, texts, images, draws=40)
    assert {method: np.mean(values) for method, values in found.items()} == pytest.approx(
        dict.fromkeys(found, 0.2), abs=0.03
    )


def test_without_images_there_is_text_alone(concepts):
    texts, _ = embeddings(concepts, signal=1)
    assert list(colour_accuracies(concepts, texts, None, draws=2)) == ["text only"]


def test_concepts_of_emoji7_have_one_colour_and_names_that_do_not_say_it():
    found = coloured_names()
    colour_of = dict(zip(found.names, (list(COLOURS)[one] for one in found.colours), strict=True))
    known = {"草莓": "red", "柠檬": "yellow", "海豚": "blue", "恶心": "green"}
    assert {name: colour_of.get(name) for name in known} == known
    assert np.bincount(found.colours, minlength=5).min() >= 10
    assert not any(set(name) & set(WORDS) for name in found.names)
