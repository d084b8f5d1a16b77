import numpy as np
import pytest
import torch
from helpers.regions.golden import read_tensors
from PIL import Image
from wenlan.modeling_region_detector.array_images import to_rgb
from wenlan.modeling_region_detector.resizing import resize_like_opencv, resize_like_pillow
from wenlan.processing import decode_image


def noise(width, height):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, height, width), dtype=np.uint8))


def test_opencv_road_equals_opencv():
    golden = read_tensors("ops")
    mean = torch.tensor([102.9801, 115.9465, 122.7717])[:, None, None]
    image = golden["resize_in"].permute(2, 0, 1)
    resized, scales = resize_like_opencv(image, 60, 100, to_floats=lambda pixels: pixels - mean)
    assert scales == (pytest.approx(float(golden["resize_scale"])),) * 2
    torch.testing.assert_close(resized, golden["resize_out_60_100"], atol=2e-5, rtol=0)


@pytest.mark.parametrize(("case", "shortest", "longest"), [("d2_c4", 160, 213), ("d2_fpn", 128, 171)])
@pytest.mark.parametrize("index", [0, 1])
def test_pillow_road_has_the_bits_of_detectron2(case, shortest, longest, index):
    golden = read_tensors(case)
    image = golden[f"image_bgr_u8.{index}"].permute(2, 0, 1)
    resized, scales = resize_like_pillow(image, shortest, longest, resample=Image.Resampling.BILINEAR)
    assert torch.equal(resized, golden[f"resized_bgr_u8.{index}"])
    assert scales == tuple(after / before for after, before in zip(resized.shape[1:], image.shape[1:], strict=True))


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (10_000, 40, (4, 1000)),
        (40, 10_000, (1000, 4)),
        (10_000, 1, (1, 1000)),
        (1, 10_000, (1000, 1)),
        (1, 1, (600, 600)),
        (601, 999, (997, 600)),  # 997.33 rows
        (600, 1001, (1000, 599)),  # 599.4 columns
        (800, 1000, (750, 600)),
        (7, 7, (600, 600)),
    ],
)
def test_sides_of_opencv_road(width, height, expected):
    resized, scales = resize_like_opencv(noise(width, height), 600, 1000, to_floats=torch.Tensor.float)
    assert resized.shape == (3, *expected)
    assert resized.isfinite().all()
    assert [side / scale for side, scale in zip(expected, scales, strict=True)] == pytest.approx(
        [height, width], abs=0.5 / scales[0] + 1e-6
    )


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (10_000, 40, (5, 1333)),
        (40, 10_000, (1333, 5)),
        (10_000, 1, (1, 1333)),
        (1, 1, (800, 800)),
        (640, 480, (800, 1067)),
    ],
)
def test_sides_of_pillow_road(width, height, expected):
    resized, _ = resize_like_pillow(noise(width, height), 800, 1333, resample=Image.Resampling.BILINEAR)
    assert resized.shape == (3, *expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_every_mode_becomes_the_rgb_of_the_package_decoder(mode):
    values = np.random.default_rng(0).integers(0, 256, (5, 6, 4), dtype=np.uint8)
    sources = {
        "I;16": lambda: Image.fromarray(values[..., 0].astype(np.uint16) * 257),
        "I": lambda: Image.fromarray(values[..., 0].astype(np.int32) * 257),
        "PA": lambda: Image.fromarray(values).convert("LA").convert("PA"),
        "P": lambda: Image.fromarray(values[..., :3]).convert("P"),
    }
    image = sources.get(mode, lambda: Image.fromarray(values).convert(mode))()
    assert image.mode == mode
    assert to_rgb(image).mode == "RGB"
    assert np.array_equal(to_rgb(image), decode_image(image))


def test_sixteen_bits_are_scaled_to_eight():
    image = Image.fromarray(np.array([[0, 257, 65535]], dtype=np.uint16))
    assert np.asarray(to_rgb(image))[0, :, 0].tolist() == [0, 1, 255]


def test_transparent_palette_colour_becomes_white():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    image.info["transparency"] = 0
    assert np.asarray(to_rgb(image))[0].tolist() == [[255, 255, 255], [40, 50, 60]]


def test_image_is_turned_upright():
    image = Image.new("RGB", (4, 2))
    image.getexif()[0x0112] = 6
    assert to_rgb(image).size == (2, 4)
