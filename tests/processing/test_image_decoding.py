import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile
from wenlan.processing.image_decoding import CAUSES, ImageDecodingError, decode_image

RED, WHITE = (255, 0, 0), (255, 255, 255)


def encode(image, image_format, **options):
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def noise(width=64, height=48):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def png_that_claims(width, height):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def cause_of(source, **options):
    with pytest.raises(ImageDecodingError) as caught:
        decode_image(source, **options)
    assert caught.value.cause in CAUSES
    return caught.value.cause


def test_path_string_and_bytes_give_the_same_pixels(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encode(noise(), "PNG"))
    for source in (path, str(path), path.read_bytes(), Image.open(path)):
        assert decode_image(source).tobytes() == noise().tobytes()


def test_exif_orientation_6_turns_the_image_clockwise():
    image = Image.new("RGB", (40, 20), WHITE)
    image.paste(RED, (0, 0, 8, 20))  # red on the left, so on top once upright
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = decode_image(encode(image, "PNG", exif=exif))
    assert upright.size == (20, 40)
    assert upright.getpixel((10, 2)) == RED
    assert upright.getpixel((10, 37)) == WHITE


def test_decoding_a_decoded_image_does_not_turn_it_again():
    exif = Image.Exif()
    exif[0x0112] = 6
    once = decode_image(encode(noise(40, 20), "JPEG", exif=exif))
    assert decode_image(once).tobytes() == once.tobytes()


def test_cmyk_jpeg_becomes_rgb_of_the_same_colour():
    image = decode_image(encode(Image.new("RGB", (16, 16), RED).convert("CMYK"), "JPEG", quality=95))
    assert image.mode == "RGB"
    np.testing.assert_allclose(image.getpixel((8, 8)), RED, atol=12)  # JPEG is lossy


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparent_pixels_become_white(mode):
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0)).convert(mode)
    assert decode_image(image).getpixel((0, 0)) == WHITE


def test_half_transparent_black_becomes_grey():
    assert decode_image(encode(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), "PNG")).getpixel((0, 0)) == (127, 127, 127)


def test_palette_with_a_transparent_entry_is_composed_on_white():
    image = Image.new("P", (4, 4), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((3, 3), 1)
    decoded = decode_image(encode(image, "PNG", transparency=0))
    assert decoded.getpixel((0, 0)) == WHITE
    assert decoded.getpixel((3, 3)) == RED


def test_16_bit_png_is_scaled_and_not_clipped():
    levels = np.array([[0, 257, 128 * 257, 65535]], dtype=np.uint16)
    decoded = np.asarray(decode_image(encode(Image.fromarray(levels), "PNG")))
    assert decoded[0, :, 0].tolist() == [0, 1, 128, 255]


def test_32_bit_integers_count_as_16_bit_values():
    levels = np.array([[0, 128 * 257, 70000]], dtype=np.int32)
    assert np.asarray(decode_image(Image.fromarray(levels)))[0, :, 1].tolist() == [0, 128, 255]


@pytest.mark.parametrize("top", [1.0, 255.0, 65535.0])
def test_float_image_is_scaled_from_the_smallest_range_that_holds_it(top):
    levels = np.array([[0, 0.2, np.nan, 1]], dtype=np.float32) * np.float32(top)
    assert np.asarray(decode_image(Image.fromarray(levels)))[0, :, 2].tolist() == [0, 51, 0, 255]


@pytest.mark.parametrize("image_format", ["GIF", "WEBP"])
def test_animation_gives_its_first_frame(image_format):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, (0, 255, 0), (0, 0, 255))]
    options = {"lossless": True} if image_format == "WEBP" else {}
    data = encode(frames[0], image_format, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert decode_image(data).getpixel((4, 4)) == RED


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "BMP", "GIF"])
def test_truncated_file_is_refused(image_format):
    data = encode(noise(), image_format)
    assert cause_of(data[: len(data) // 2]) == "truncated"


@pytest.mark.parametrize(
    ("image_format", "options"), [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("BMP", {})]
)
def test_truncated_file_can_be_decoded_as_far_as_it_goes(image_format, options):
    data = encode(noise(), image_format, **options)
    decoded = np.asarray(decode_image(data[: len(data) // 2], allow_truncated=True)).astype(int)
    whole = np.asarray(decode_image(data)).astype(int)
    assert decoded.shape == whole.shape
    rows = np.abs(decoded - whole).mean(axis=(1, 2))
    black = whole.mean(axis=(1, 2))
    assert (rows < 0.75 * black).mean() > 0.3  # closer to the image than black is
    assert rows.max() > 10


def test_allowing_truncation_leaves_the_switch_of_pillow_alone():
    data = encode(noise(), "PNG")
    decode_image(data[: len(data) // 2], allow_truncated=True)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    assert cause_of(data[: len(data) // 2]) == "truncated"


def test_damaged_pixels_are_unreadable_also_when_truncation_is_allowed():
    data = bytearray(encode(noise(), "PNG"))
    data[200:300] = bytes(100)
    assert cause_of(bytes(data), allow_truncated=True) == "unreadable"


@pytest.mark.parametrize("size", [(50_000, 50_000), (12_000, 9_000), (20_000, 2)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bomb_is_refused_by_its_header(size):
    assert cause_of(png_that_claims(*size)) == "too large"  # decoding its pixels would say "truncated"


def test_limits_can_be_lowered():
    assert cause_of(noise(), max_side=63) == "too large"
    assert cause_of(noise(), max_pixels=64 * 48 - 1) == "too large"
    assert decode_image(noise(), max_side=64, max_pixels=64 * 48).size == (64, 48)


def test_empty_file_text_file_and_missing_file_have_their_own_causes(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("this is not an image", encoding="utf-8")
    assert cause_of(tmp_path / "empty.png") == "empty file"
    assert cause_of(tmp_path / "text.png") == "not an image"
    assert cause_of(tmp_path / "missing.png") == "file missing"
    assert cause_of(tmp_path) == "unreadable"


def test_postscript_is_refused_because_pillow_would_run_it():
    assert cause_of(encode(noise(), "EPS")) == "not an image"


def test_message_names_the_file(tmp_path):
    with pytest.raises(ImageDecodingError, match=r"missing\.png"):
        decode_image(tmp_path / "missing.png")


def test_url_is_not_opened():
    with pytest.raises(ImageDecodingError, match="URLs are not opened"):
        decode_image("http://localhost:9/image.png")


def test_image_of_one_pixel_decodes():
    assert decode_image(encode(Image.new("RGB", (1, 1), RED), "PNG")).getpixel((0, 0)) == RED


def test_image_without_pixels_is_refused():
    assert cause_of(Image.new("RGB", (0, 5))) == "unreadable"
    assert cause_of(png_that_claims(0, 5)) == "not an image"
