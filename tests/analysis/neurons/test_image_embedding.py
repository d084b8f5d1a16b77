"""Preprocessing in torch gives what the processor gives, and gradients reach the pixels with and without boxes."""

import numpy as np
import pytest
import torch
from helpers.brivl.tiny import tiny_config
from helpers.perturb import perturb
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor
from wenlan.analysis import ImageEmbedder
from wenlan.modeling_brivl import BriVLModel
from wenlan.pipelines.embedding import embed_images


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8))


@pytest.mark.parametrize("antialias", [False, True])
def test_values_are_those_of_the_processor(tiny_brivl, image, monkeypatch, antialias):
    model, processor = tiny_brivl
    monkeypatch.setattr(processor.image_processor, "antialias", antialias)
    expected = processor(images=image, return_tensors="pt")["pixel_values"]
    found = ImageEmbedder(model, processor).preprocess(pil_to_tensor(image)[None] / 255)
    assert found.shape[-1] != image.width
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


def test_embeddings_are_those_of_the_model_for_the_same_images(tiny_brivl, image):
    found = ImageEmbedder(*tiny_brivl).embed_images([image, image.rotate(90), image.rotate(180)], batch_size=2)
    expected = embed_images(*tiny_brivl, [image, image.rotate(90), image.rotate(180)])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_brivl_that_expects_a_detector_gets_the_whole_image_and_a_fixed_grid(tiny_brivl):
    model = perturb(BriVLModel(tiny_config(vision={"grid_scales": [1]}))).eval()
    embed = ImageEmbedder(model, tiny_brivl[1])
    assert embed.boxes.shape == (37, 4)
    assert embed.boxes[-1].tolist() == [0, 0, 72, 72]
    images = torch.rand(2, 3, 72, 72, requires_grad=True)
    found = embed(images)
    pixels = embed.preprocess(images)
    expected = model(pixel_values=pixels, boxes=embed.boxes.expand(2, -1, -1)).image_embeds
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert not torch.allclose(found, model(pixel_values=pixels).image_embeds, atol=1e-3)
    found.sum().backward()
    assert (images.grad.abs().amax(dim=(1, 2, 3)) > 0).all()
    assert ImageEmbedder(*tiny_brivl).boxes is None


def test_other_sizes_are_multiples_that_the_tower_can_read(tiny_brivl):
    assert ImageEmbedder(*tiny_brivl).size == 72
    assert ImageEmbedder(*tiny_brivl, size=96)(torch.rand(1, 3, 40, 40)).shape == (1, 24)
    for size in (100, 32, 0, 9600):
        with pytest.raises(ValueError, match=rf"size is {size}; the image tower reads 72, its own, and"):
            ImageEmbedder(*tiny_brivl, size=size)
