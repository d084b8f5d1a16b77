"""What transformers' common tests and other libraries ask of processors, of all of ours."""

import base64
import inspect
import io
import json

import numpy as np
import pytest
import torch
from helpers.mlmm.folder import noise_image, write_detector
from PIL import Image
from transformers import AutoImageProcessor, AutoProcessor
from wenlan.modeling_region_detector import RegionImageProcessor
from wenlan.processing import BriVLImageProcessor, BriVLProcessor, ImageDecodingError, MLMMProcessor, decode_image

import wenlan  # noqa: F401  makes the Auto classes know the processors

IMAGE = noise_image()
ARRAY = np.array(IMAGE)
PAIR = [["a cat", "a dog"]]


@pytest.fixture(scope="module")
def mlmm(tmp_path_factory, small_tokenizer):
    detector = write_detector(tmp_path_factory.mktemp("detector"))
    return MLMMProcessor(small_tokenizer, detector=str(detector), min_boxes=2, max_boxes=5)


@pytest.fixture(scope="module")
def brivl(small_tokenizer):
    return BriVLProcessor(BriVLImageProcessor(size=40, max_regions=6), small_tokenizer, max_text_length=16)


@pytest.fixture(params=["mlmm", "brivl"])
def processor(request):
    return request.getfixturevalue(request.param)


def uri(image):
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def assert_same(actual, expected):
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(torch.as_tensor(actual[name]), torch.as_tensor(value)), name


def test_images_of_every_kind_are_the_same(processor, tmp_path):
    IMAGE.save(tmp_path / "image.png")
    first, channels_first = processor(images=IMAGE, return_tensors="pt"), np.moveaxis(ARRAY, 2, 0)
    for image in (
        ARRAY,
        channels_first,
        ARRAY[None],
        channels_first[None],
        [ARRAY],
        torch.from_numpy(ARRAY),
        torch.from_numpy(channels_first.copy()),
        torch.from_numpy(channels_first.copy())[None] / 255,
        ARRAY / 255,
        tmp_path / "image.png",
        str(tmp_path / "image.png"),
        (tmp_path / "image.png").read_bytes(),
        uri(IMAGE),
        uri(IMAGE).partition(",")[2],
        [uri(IMAGE)],
    ):
        assert_same(processor(images=image, return_tensors="pt"), first)


def test_batch_of_arrays_is_that_of_their_images(processor):
    images = [noise_image(seed) for seed in range(3)]
    expected = processor(images=images, return_tensors="pt")
    batch = np.stack([np.array(image) for image in images])
    for several in (batch, torch.from_numpy(batch), torch.from_numpy(batch).permute(0, 3, 1, 2), list(batch)):
        assert_same(processor(images=several, return_tensors="pt"), expected)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/a.png", "https://example.com/a.jpg", "ftp://a/b.png"])
def test_urls_are_opened_by_nobody(processor, url):
    for images in (url, [IMAGE, url]):
        with pytest.raises(ImageDecodingError, match="URLs are not opened"):
            processor(images=images)
    with pytest.raises(TypeError, match="not str"):
        RegionImageProcessor()(url)


def test_numpy_is_what_comes_when_it_is_asked_for(processor):
    inputs = {"images": [IMAGE, noise_image(1)], "text": ["a cat", "two red keys"]}
    arrays, tensors = (processor(**inputs, return_tensors=kind) for kind in ("np", "pt"))
    assert arrays.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert type(arrays[name]) is np.ndarray, name
        assert arrays[name].dtype == tensor.numpy().dtype
        np.testing.assert_array_equal(arrays[name], tensor.numpy())


def test_class_distributions_are_numpy_too(mlmm):
    probs = mlmm(images=IMAGE, return_class_probs=True, return_tensors="np")["region_class_probs"]
    assert type(probs) is np.ndarray
    np.testing.assert_allclose(probs.sum(axis=-1), 1, atol=1e-6)
    assert "region_class_probs" not in mlmm(images=IMAGE, return_class_probs=None)


def test_names_of_inputs_are_those_that_come(processor):
    assert set(processor.model_input_names) == set(processor(images=IMAGE, text="a cat"))


def test_arguments_of_a_call_have_no_values_of_their_own(processor):
    parameters = inspect.signature(type(processor).__call__).parameters.values()
    assert {one.default for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD} == {None, inspect._empty}


@pytest.mark.parametrize("options", [{"text_pair": "a dog"}, {"text_pair": ["a dog"]}, {"is_split_into_words": True}])
def test_pairs_and_words_are_refused_by_the_option(processor, options):
    for given in (options, {"text_kwargs": options}):
        with pytest.raises(ValueError, match=f"{next(iter(options))} is given.*Give each as one string"):
            processor(text=["a cat"], **given)


@pytest.mark.parametrize("text", [PAIR, [("a cat", "a dog")], ["a cat", ["a", "dog"]]])
def test_pairs_and_words_are_refused_by_their_form(processor, text):
    with pytest.raises(ValueError, match=r"Text [01] is a (list|tuple), of two texts or of words"):
        processor(text=text)


def test_unknown_options_are_ignored_as_transformers_does(processor):
    expected = processor(text="a cat", return_tensors="pt")
    assert_same(processor(text="a cat", return_tensors="pt", no_such_option=3), expected)


def test_saved_processor_opens_as_what_it_was(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert type(loaded) is type(processor)
    assert json.loads(loaded.to_json_string()) == json.loads(processor.to_json_string())
    inputs = {"images": IMAGE, "text": "two red keys", "return_tensors": "pt"}
    assert_same(loaded(**inputs), processor(**inputs))


@pytest.mark.parametrize("processor_class", [BriVLImageProcessor, RegionImageProcessor])
def test_image_processor_that_converts_nothing_keeps_the_channels(processor_class, tmp_path):
    image_processor = processor_class(image_mean=[0.0] * 4, image_std=[1.0] * 4, do_convert_rgb=False)
    pixels = np.concatenate([ARRAY, ARRAY[..., :1]], axis=2)
    assert image_processor(pixels, return_tensors="pt")["pixel_values"].shape[1] == 4
    image_processor.save_pretrained(tmp_path)
    loaded = AutoImageProcessor.from_pretrained(tmp_path)
    assert torch.equal(
        loaded(pixels, return_tensors="pt")["pixel_values"],
        image_processor(pixels, return_tensors="pt")["pixel_values"],
    )


@pytest.mark.parametrize("processor_class", [BriVLImageProcessor, RegionImageProcessor])
@pytest.mark.parametrize("channels", [1, 4])
def test_channels_without_a_mean_are_named(processor_class, channels):
    pixels = np.repeat(ARRAY[..., :1], channels, axis=2)
    with pytest.raises(ValueError, match=f"{channels} channels, and image_mean 3: leave do_convert_rgb=True"):
        processor_class()(pixels, do_convert_rgb=False)
    assert processor_class()(pixels, return_tensors="pt")["pixel_values"].shape[1] == 3


@pytest.mark.parametrize("style", ["opencv", "pillow"])
def test_detector_reads_rgb_alike_whether_it_converts_or_not(style):
    image_processor = RegionImageProcessor(resize_style=style)
    for image in (IMAGE, ARRAY, torch.from_numpy(ARRAY)):
        given, converted = (image_processor(image, do_convert_rgb=one, return_tensors="pt") for one in (False, True))
        assert_same(given, converted)
    for mode in ("RGBA", "L", "P"):
        with pytest.raises(ValueError, match=f"mode {mode} has [14] channels"):
            image_processor(IMAGE.convert(mode), do_convert_rgb=False)


def test_grey_and_alpha_are_resized_as_the_colours_are():
    options = {"image_std": [1.0], "do_convert_rgb": False, "resize_style": "pillow", "do_flip_channel_order": True}
    grey = RegionImageProcessor(image_mean=[0.0], **options)(IMAGE.convert("L"), return_tensors="pt")["pixel_values"]
    colour = RegionImageProcessor(resize_style="pillow", image_mean=[0.0] * 3)(IMAGE.convert("L"), return_tensors="pt")
    assert torch.equal(grey[0, 0], colour["pixel_values"][0, 1])


def test_images_as_sentence_transformers_hands_them_on(brivl):
    """It calls a processor by modality, with `padding` of its own, and with strings that it takes for images."""
    texts = brivl(text=["a cat", "two red keys"], padding=True, truncation=True, return_tensors="pt")
    assert texts["input_ids"].shape == texts["attention_mask"].shape
    images = brivl(images=[IMAGE, ARRAY, uri(IMAGE)], return_tensors="pt")["pixel_values"]
    assert torch.equal(images[0], images[1])
    assert torch.equal(images[0], images[2])


def test_array_without_its_alpha_is_another_image_than_the_one_on_white():
    transparent = Image.new("RGBA", (5, 7), (0, 0, 0, 0))
    assert decode_image(transparent).getpixel((0, 0)) == (255, 255, 255)
    assert decode_image(np.array(transparent)[..., :3]).getpixel((0, 0)) == (0, 0, 0)
