"""Matches of word pieces with cells: they are the model's own tokens, in pixels of the image."""

import pytest
import torch
from helpers.brivl.tiny_folder import SENTENCES, save_tiny_folder
from PIL import Image
from wenlan.analysis import draw_region_attention, text_to_region_matches
from wenlan.pipelines import open_brivl

IMAGE = Image.new("RGB", (90, 50), "red")
IMAGE.paste("blue", (0, 0, 45, 25))


def open_late(folder, **vision):
    save_tiny_folder(folder, late_interaction=True, late_dim=12, vision=vision)
    return open_brivl(folder)


def test_weights_are_the_softmax_over_the_cells_of_the_cosines_of_each_piece(tmp_path):
    model, processor = open_late(tmp_path)
    found = text_to_region_matches(model, processor, SENTENCES[0], IMAGE)
    assert found.tokens == list(SENTENCES[0])
    with torch.inference_mode():
        output = model(**processor(text=[SENTENCES[0]], images=[IMAGE], return_tensors="pt"))
    cosines = output.text_tokens[0, 1:-1] @ output.image_tokens[0, :4].T  # neither [CLS], [SEP] nor the whole image
    torch.testing.assert_close(found.weights, (cosines / model.config.late_temperature).softmax(dim=1))


def test_cells_are_in_pixels_of_the_image_and_can_be_drawn(tmp_path):
    found = text_to_region_matches(*open_late(tmp_path), SENTENCES[0], IMAGE)
    assert found.boxes.tolist() == [[0, 0, 45, 25], [0, 25, 45, 50], [45, 0, 90, 25], [45, 25, 90, 50]]
    assert draw_region_attention(IMAGE, found.boxes, found.of("苹果")).size == (90, 50)


def test_model_that_sees_the_whole_image_alone_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the whole image alone"):
        text_to_region_matches(*open_late(tmp_path, grid_scales=[1]), SENTENCES[0], IMAGE)


def test_model_without_late_interaction_is_refused(tiny_brivl):
    with pytest.raises(ValueError, match="late_interaction is false"):
        text_to_region_matches(*tiny_brivl, SENTENCES[0], IMAGE)
