"""Class anchors: ensembles of templates, and what several names of a class count."""

import numpy as np
import pytest
import torch
from wenlan.data.zero_shot.class_list import ClassList
from wenlan.evaluation.zero_shot.anchors import ClassAnchors, class_anchors
from wenlan.evaluation.zero_shot.embeddings import TextEmbeddings

CLASSES = ClassList(("cat", "apple"), (("猫", "一只猫"), ("苹果",)))
TEMPLATES = ("{}", "雪山和{}")


def unit(vector):
    return vector / np.linalg.norm(vector)


@pytest.fixture
def embed(tiny_brivl):
    return TextEmbeddings(*tiny_brivl)


@pytest.fixture
def by_hand(embed):
    """The anchor of a name, computed by hand."""
    return lambda name: unit(embed.texts([template.replace("{}", name) for template in TEMPLATES]).mean(axis=0))


def test_anchor_is_the_unit_mean_over_the_templates(embed, by_hand):
    anchors = class_anchors(embed, CLASSES, TEMPLATES, synonyms="first")
    np.testing.assert_allclose(anchors.embeds, [by_hand("猫"), by_hand("苹果")], atol=1e-6)
    np.testing.assert_allclose(anchors.embeds.norm(dim=1), 1, atol=1e-6)


def test_mean_of_the_names_is_one_anchor_of_unit_length(embed, by_hand):
    anchors = class_anchors(embed, CLASSES, TEMPLATES, synonyms="mean")
    cat = unit(by_hand("猫") + by_hand("一只猫"))
    np.testing.assert_allclose(anchors.embeds, [cat, by_hand("苹果")], atol=1e-6)


def test_nearest_of_the_names_counts(embed, by_hand):
    anchors = class_anchors(embed, CLASSES, TEMPLATES)
    images = torch.nn.functional.normalize(torch.randn(20, anchors.embeds.shape[1]), dim=1)
    first, second, apple = (images @ torch.tensor(by_hand(name)) for name in ("猫", "一只猫", "苹果"))
    expected = torch.stack([torch.maximum(first, second), apple], dim=1)
    torch.testing.assert_close(anchors.scores(images), expected, atol=1e-5, rtol=0)
    assert not torch.equal(torch.maximum(first, second), first)


def test_template_may_hold_other_braces(embed):
    class_anchors(embed, CLASSES, ["{猫}{}"])


def test_no_template_is_an_error(embed):
    with pytest.raises(ValueError, match="There is no template"):
        class_anchors(embed, CLASSES, [])


@pytest.mark.parametrize("count", range(2, 24))
def test_equal_anchors_score_equally_to_the_last_bit(count):
    embeds = torch.nn.functional.normalize(
        torch.randn(count, 24, generator=torch.Generator().manual_seed(count)), dim=1
    )
    embeds[-1] = embeds[0]
    scores = ClassAnchors(embeds, torch.arange(count), count).scores(embeds.flip(1))
    assert torch.equal(scores[:, 0], scores[:, -1])


def test_classes_with_one_name_each_are_scored_by_cosine():
    anchors = ClassAnchors(torch.eye(3), torch.arange(3), 3)
    images = torch.tensor([[0.6, 0.8, 0.0]])
    assert torch.equal(anchors.scores(images), images)
