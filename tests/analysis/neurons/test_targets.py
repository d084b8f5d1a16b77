"""Targets: texts, mixtures, images and coordinates."""

import logging

import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from transformers.utils import logging as transformers_logging
from wenlan.analysis import image_target, neuron_target, text_targets
from wenlan.pipelines.embedding import embed_images, embed_texts


def test_text_and_mixture_are_embeddings_and_their_weighted_sum(tiny_brivl):
    cat, snow = embed_texts(*tiny_brivl, ["一只猫", "雪山和湖"])
    one, mixture, negative = text_targets(*tiny_brivl, ["一只猫", "2*一只猫+雪山和湖", " 一只猫 + -0.5 * 雪山和湖"])
    torch.testing.assert_close(one.vector, cat)
    torch.testing.assert_close(mixture.vector, F.normalize(2 * cat + snow, dim=0))
    torch.testing.assert_close(negative.vector, F.normalize(cat - 0.5 * snow, dim=0))
    assert mixture.name == "2*一只猫+雪山和湖"


@pytest.mark.parametrize("text", ["", "  ", "猫+", "+", "2*", "猫++雪"])
def test_empty_text_or_part_is_refused(tiny_brivl, text):
    with pytest.raises(ValueError, match=r"A part of the text .* is empty"):
        text_targets(*tiny_brivl, ["猫", text])


def test_text_of_unknown_tokens_only_is_refused_and_one_with_a_known_token_is_not(tiny_brivl):
    with pytest.raises(ValueError, match="knows no token of 'xyz'"):
        text_targets(*tiny_brivl, ["猫+xyz"])
    assert len(text_targets(*tiny_brivl, ["xyz猫"])) == 1


def test_parts_that_cancel_out_are_refused(tiny_brivl):
    with pytest.raises(ValueError, match="cancel out"):
        text_targets(*tiny_brivl, ["猫+-1*猫"])


def test_text_that_is_too_long_is_cut_with_a_warning(tiny_brivl, caplog):
    logger = logging.getLogger("wenlan.processing.processing_brivl")
    transformers_logging.get_logger(logger.name).warning_once.cache_clear()
    logger.addHandler(caplog.handler)  # transformers' own loggers do not hand on to the root
    long, head = text_targets(*tiny_brivl, ["猫" * 40, "猫" * 9])
    logger.removeHandler(caplog.handler)
    assert "was cut" in caplog.text
    torch.testing.assert_close(long.vector, head.vector)


def test_image_and_coordinate(tiny_brivl):
    image = Image.new("RGB", (30, 20), "red")
    torch.testing.assert_close(
        image_target(*tiny_brivl, image, name="red").vector, embed_images(*tiny_brivl, [image])[0]
    )
    target = neuron_target(tiny_brivl[0], 3)
    assert target.vector.nonzero().tolist() == [[3]]
    for neuron in (-1, 24):
        with pytest.raises(ValueError, match=f"no neuron {neuron}: the embedding has 24, 0 to 23"):
            neuron_target(tiny_brivl[0], neuron)
