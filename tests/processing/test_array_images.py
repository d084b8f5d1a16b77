from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from wenlan.processing.array_images import array_to_image, iterate_images
from wenlan.processing.image_decoding import ImageDecodingError, decode_image

BYTES = np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)
FLOATS = (BYTES / 255).astype(np.float32)
BOOLS = BYTES > 127


@pytest.mark.parametrize(
    "same",
    [
        BYTES,
        BYTES.transpose(2, 0, 1),
        BYTES[::-1][::-1],
        BYTES.astype(np.int64),
        BYTES.astype(np.float64),
        BYTES.astype(np.uint16) * 257,
        (BYTES.astype(np.uint16) * 257).astype(">u2"),
        FLOATS,
        FLOATS.astype(np.float16),
        FLOATS + np.float32(5e-4),  # rounding
        torch.tensor(BYTES).permute(2, 0, 1),
        torch.tensor(FLOATS, requires_grad=True),
        torch.tensor(BYTES.astype(np.int32) * 257).to(torch.uint16),
        torch.tensor(BYTES).to(torch.bfloat16),
        np.dstack([BYTES, np.full(BYTES.shape[:2], 255, np.uint8)]),
        np.dstack([FLOATS, np.ones(BYTES.shape[:2], np.float32)]),
    ],
)
def test_other_units_and_layouts_give_the_same_image(same):
    assert decode_image(same).tobytes() == BYTES.tobytes()


@pytest.mark.parametrize("grey", [BYTES[..., 0], BYTES[..., :1], BYTES[None, ..., 0], FLOATS[..., 0]])
def test_one_channel_is_grey(grey):
    assert decode_image(grey).tobytes() == np.repeat(BYTES[..., :1], 3, axis=2).tobytes()


def test_bools_are_black_and_white_and_transparency_is_on_white():
    black_and_white = np.where(BOOLS[..., 0], np.uint8(255), np.uint8(0))
    assert decode_image(BOOLS[..., 0]).tobytes() == decode_image(black_and_white).tobytes()
    assert decode_image(np.zeros((5, 6, 4))).getpixel((0, 0)) == (255, 255, 255)


def test_fractions_of_255_are_rounded():
    assert decode_image(np.full((5, 5), 99.6)).getpixel((0, 0)) == (100, 100, 100)
    assert decode_image(np.full((5, 5), 3.0)).getpixel((0, 0)) == (3, 3, 3)


@pytest.mark.parametrize(
    "values",
    [
        FLOATS * 2 - 1,  # -1..1
        (FLOATS - 0.45) / 0.22,  # normalised
        FLOATS * 1.05,  # resized with overshoot
        FLOATS - 0.02,
        FLOATS * 65535,
        BYTES * 1.5,
        np.where(BYTES.max() == BYTES, np.nan, FLOATS),
        np.where(BYTES.max() == BYTES, np.inf, FLOATS),
        BYTES.astype(np.uint16),  # 8 bits in 16, or 16 bits that are nearly black
        BYTES.astype(np.int32) * 257,
        BYTES.astype(np.int16) - 128,
        FLOATS.astype(complex),
        FLOATS.astype(object),
        FLOATS.astype(str),
    ],
)
def test_values_that_are_not_certain_are_refused(values):
    with pytest.raises(ImageDecodingError, match="give uint8") as caught:
        decode_image(values)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "shape", [(7,), (0, 5, 3), (5, 0), (9, 9, 2), (9, 9, 5), (3, 9, 3), (3, 5, 4), (1, 9, 1), (2, 9, 9, 3), (9, 9, 9)]
)
def test_shapes_that_are_not_certain_are_refused(shape):
    with pytest.raises(ImageDecodingError, match="shape"):
        decode_image(np.zeros(shape, np.uint8))


def test_shape_that_can_be_read_both_ways_needs_a_word():
    array = BYTES[:3]  # 3 rows
    assert array_to_image(array, channels="channels_last").size == (12, 3)
    assert array_to_image(array, channels="channels_first").size == (3, 12)
    assert array_to_image(BYTES[:1]).size == (12, 1)  # a row of pixels, not a channel


def test_images_come_one_by_one_from_batches_lists_and_nested_ones():
    image = Image.new("RGB", (3, 2))
    images = [image, "a.png", b"...", np.zeros((2, 5, 6, 3)), [torch.zeros(2, 3, 5, 6), [BYTES]], {"path": "x"}]
    kinds = [type(one) for one in iterate_images(images)]
    assert kinds == [Image.Image, str, bytes, np.ndarray, np.ndarray, torch.Tensor, torch.Tensor, np.ndarray, dict]
    assert list(iterate_images("a.png")) == ["a.png"]
    assert len(list(iterate_images(BYTES))) == 1


def test_open_file_is_one_thing_and_no_array():
    stream = BytesIO(b"two\nlines")
    assert list(iterate_images([stream])) == [stream]
    with pytest.raises(ImageDecodingError, match="image of type BytesIO: give a path, bytes"):
        decode_image(stream)
