import pytest
import torch
from helpers.tiny_vqgan import CODES, build_tiny_vqgan
from torchvision.transforms.v2.functional import to_pil_image
from wenlan.analysis.neurons.optimization import OptimizationSettings, optimize
from wenlan.analysis.vqgan_inversion.codes import CodedImages, codes_of_image, random_codes
from wenlan.pipelines.vqgan import decode_codes


@pytest.fixture(scope="module")
def model():
    return build_tiny_vqgan().requires_grad_(False)


def mean_colour(images):
    """Embeds images by their mean colour, as unit rows."""
    return torch.nn.functional.normalize(images.mean(dim=(2, 3)), dim=1)


TARGETS = torch.nn.functional.normalize(torch.tensor([[1.0, 0.1, 0.1], [0.1, 0.1, 1.0]]), dim=1)


def test_start_decodes_to_its_codes_and_a_seed_gives_the_same_ones(model):
    codes = random_codes(model, [3, 4])
    assert codes.shape == (2, 8, 8)
    assert torch.equal(codes[0], random_codes(model, [3])[0])
    assert not torch.equal(codes[0], codes[1])
    images = CodedImages(model, codes).decode().detach()
    assert torch.allclose(images, decode_codes(model, codes), atol=1e-6)


def test_result_is_valid_codes_that_decode_to_the_images_and_nearer_to_the_target(model):
    coded = CodedImages(model, random_codes(model, [0, 1]))
    settings = OptimizationSettings(steps=30, learning_rate=0.3, tv_weight=0.0)
    found = optimize(coded, mean_colour, TARGETS, seeds=[0, 1], settings=settings)
    codes = coded.codes_of(found.images)
    assert codes.min() >= 0
    assert codes.max() < CODES
    assert (decode_codes(model, codes) - found.images).abs().max() < 1 / 255
    before = (mean_colour(decode_codes(model, random_codes(model, [0, 1]))) * TARGETS).sum(dim=1)
    assert ((mean_colour(found.images) * TARGETS).sum(dim=1) > before + 0.01).all()
    assert not torch.equal(codes, random_codes(model, [0, 1]))
    assert (coded.latents >= coded.low).all()
    assert (coded.latents <= coded.high).all()


def test_gradient_goes_straight_through_the_codes_and_through_clamped_pixels(model):
    coded = CodedImages(model, random_codes(model, [0]))
    images = coded.decode()
    (images * 1000).sum().backward()
    assert images.min() >= 0
    assert images.max() <= 1
    gradient = coded.latents.grad
    nearest = coded.latents.detach().clone().requires_grad_()
    pixels = model.decode(nearest, force_not_quantize=True).sample / 2 + 0.5
    assert ((pixels < 0) | (pixels > 1)).any()
    (pixels * 1000).sum().backward()
    assert torch.allclose(gradient, nearest.grad, rtol=1e-4, atol=1e-3)


def test_projection_clamps_each_channel_to_the_codebook(model):
    coded = CodedImages(model, random_codes(model, [0]))
    with torch.no_grad():
        coded.latents += 100
    coded.project()
    highest = model.quantize.embedding.weight.max(dim=0).values
    assert torch.equal(coded.latents[0, :, 3, 5], highest)


def test_images_of_one_step_before_find_their_codes_and_others_none(model):
    coded = CodedImages(model, random_codes(model, [0]))
    first = coded.decode().detach()
    codes = coded.decoded[-1]
    with torch.no_grad():
        coded.latents.copy_(coded.latents.flip(2))
    second = coded.decode().detach()
    assert torch.equal(coded.codes_of(first), codes)
    assert torch.equal(coded.codes_of(second), codes.flip(1))
    with torch.no_grad():
        coded.latents.fill_(torch.nan)
    coded.decode()
    assert torch.equal(coded.codes_of(second), codes.flip(1))
    with pytest.raises(RuntimeError, match="not those that the codes decode to"):
        coded.codes_of(first)


def test_codes_of_an_image_that_was_decoded_from_them_say_the_same_image(model):
    image = decode_codes(model, random_codes(model, [2]))[0]
    codes = codes_of_image(model, to_pil_image(image).resize((40, 30)))
    assert codes.shape == (1, 8, 8)
    assert codes.max() < CODES
