"""The classifier that evaluates images which models make: it must know a style that it never saw."""

import numpy as np
import pytest
import torch
from PIL import Image
from wenlan.analysis import train_classifier
from wenlan.data import load_emoji7
from wenlan.data.emoji7.dataset import read_concepts

NAMES = ["红苹果", "太阳", "西瓜", "向日葵", "香蕉", "熊猫", "青蛙", "汽车"]


@pytest.fixture(scope="module")
def ids():
    by_name = {row["name_zh"]: number for number, row in read_concepts("zh").items()}
    return [by_name[name] for name in NAMES]


def on_white(image):
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image.convert("RGBA"))
    return white.convert("RGB")


def test_it_names_concepts_in_a_style_that_it_never_saw_and_not_noise(ids):
    classifier = train_classifier(ids, steps=100)
    assert classifier.accuracy >= 0.75  # seen 1.00
    rows = load_emoji7()["validation"]
    rows = rows.select([rows["concept_id"].index(number) for number in ids])
    found = classifier.rank([on_white(image) for image in rows["image"]])
    assert sorted(found[0]) == list(range(8))
    assert (found[:, 0] == np.arange(8)).mean() >= 0.75
    noise = [Image.fromarray(np.random.default_rng(seed).integers(0, 256, (60, 60, 3), np.uint8)) for seed in range(8)]
    assert (classifier.rank(noise)[:, 0] == np.arange(8)).mean() <= 0.25


def test_it_is_the_same_whatever_was_drawn_before_and_draws_nothing_itself(ids):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = train_classifier(ids[:2], steps=3, min_accuracy=0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    other = train_classifier(ids[:2], steps=3, min_accuracy=0)
    for name, tensor in one.network.state_dict().items():
        assert torch.equal(tensor, other.network.state_dict()[name])


def test_classifier_that_does_not_know_the_unseen_style_is_refused(ids):
    with pytest.raises(ValueError, match=r"names \d+% of the images in a style .* cannot evaluate these 8 concepts"):
        train_classifier(ids, steps=1)


def test_concepts_that_cannot_be_trained_on_are_refused(ids):
    held = load_emoji7()["test_held"][0]["concept_id"]
    for wrong, message in (([ids[0]], "1 different"), ([ids[0]] * 2, "1 different"), ([ids[0], held], f"no .* {held}")):
        with pytest.raises(ValueError, match=message):
            train_classifier(wrong, steps=1)
