import io
import os
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile, PngImagePlugin
from wenlan.processing.image_decoding import CAUSES, MAX_BYTES, ImageDecodingError, decode_image

RED, WHITE = (255, 0, 0), (255, 255, 255)


def encode(image, image_format, **options):
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def noise(width=64, height=48):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def png_that_claims(width, height, pixels=b"\0", *, depth=8, colour=2, interlace=0):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    palette = chunk(b"PLTE", bytes(range(6))) if colour == 3 else b""
    chunks = chunk(b"IHDR", header) + palette + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def jpeg_that_claims(width, height, image, **options):
    data = encode(image, "JPEG", **options)
    size = data.index(b"\xff\xc2" if options.get("progressive") else b"\xff\xc0") + 5
    return data[:size] + struct.pack(">HH", height, width) + data[size + 4 :]


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
    levels = np.array([[0, 128 * 257, 65535]], dtype=np.int32)
    assert np.asarray(decode_image(Image.fromarray(levels)))[0, :, 1].tolist() == [0, 128, 255]


@pytest.mark.parametrize("top", [1.0, 255.0, 65535.0])
def test_float_image_is_scaled_from_the_smallest_range_that_holds_it(top):
    levels = np.array([[0, 0.2, np.nan, 1]], dtype=np.float32) * np.float32(top)
    assert np.asarray(decode_image(Image.fromarray(levels)))[0, :, 2].tolist() == [0, 51, 0, 255]


@pytest.mark.parametrize(
    "values",
    [
        np.float32([[0, 0.5, 1.7]]),  # an overshoot of 0..1, or 0..255 that is nearly black
        np.float32([[-1, 0, 1]]),
        np.float32([[0, 1, np.inf]]),
        np.float32([[0, 1, 1e6]]),
        np.int32([[0, 1, 70000]]),
        np.int32([[-1, 0, 255]]),
        np.uint16([[0, 100, 255]]),  # 8 bits in a wider type
        np.int32([[0, 100, 255]]),
    ],
)
@pytest.mark.parametrize("image_format", ["TIFF", None])
def test_deep_image_whose_white_is_not_certain_is_refused(values, image_format):
    image = Image.fromarray(values)
    with pytest.raises(ImageDecodingError, match="not certain what is black and white"):
        decode_image(encode(image, image_format) if image_format else image)


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


BROKEN_EXIF = [b"no TIFF header", b"", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff\x01\x12"]


@pytest.mark.parametrize("exif", BROKEN_EXIF)
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_counts_as_none_at_every_decoding(image_format, exif):
    once = decode_image(encode(noise(), image_format, exif=b"Exif\0\0" + exif))
    assert once.size == (64, 48)
    assert decode_image(decode_image(once)).tobytes() == once.tobytes()


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_decoded_image_holds_nothing_but_pixels(image_format):
    exif = Image.Exif()
    exif[0x0112] = 8
    decoded = decode_image(encode(noise(), image_format, exif=exif, icc_profile=b"no profile"))
    assert (decoded.size, decoded.mode, decoded.info, dict(decoded.getexif())) == ((48, 64), "RGB", {}, {})


LONG = "x" * 2_000_000


def texts(*added):
    info = PngImagePlugin.PngInfo()
    for add, keyword, text, compressed in added:
        getattr(info, add)(keyword, text, zip=compressed)
    return {"pnginfo": info}


@pytest.mark.parametrize(
    "options",
    [
        texts(("add_text", "workflow", LONG, True)),
        texts(("add_itxt", "workflow", LONG, True)),
        texts(("add_itxt", "XML:com.adobe.xmp", LONG, True)),
        texts(*[("add_text", f"part {part}", LONG[:1_000_000], True) for part in range(70)]),
        {"icc_profile": bytes(2_000_000)},
    ],
)
def test_png_with_much_text_or_a_large_profile_is_decoded(options):
    assert decode_image(encode(noise(), "PNG", **options)).tobytes() == noise().tobytes()


def test_png_with_much_text_after_its_pixels_is_decoded():
    data = encode(noise(), "PNG", **texts(("add_text", "workflow", LONG, True)))
    text, pixels, end = (data.index(kind) - 4 for kind in (b"zTXt", b"IDAT", b"IEND"))
    moved = data[:text] + data[pixels:end] + data[text:pixels] + data[end:]
    assert decode_image(moved).tobytes() == noise().tobytes()


def test_orientation_beside_a_long_text_is_kept():
    turned = ("add_itxt", "XML:com.adobe.xmp", '<x tiff:Orientation="6"/>', False)
    options = texts(turned, ("add_text", "workflow", LONG, True))
    assert decode_image(encode(noise(), "PNG", **options)).size == (48, 64)


def test_limits_of_pillow_are_left_alone():
    limits = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY, ImageFile.LOAD_TRUNCATED_IMAGES
    decode_image(encode(noise(), "PNG", **texts(("add_text", "workflow", LONG, True))))
    assert limits == (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY, ImageFile.LOAD_TRUNCATED_IMAGES)


@pytest.mark.parametrize("rows", [1, 10, 39])
@pytest.mark.parametrize(("depth", "colour", "row"), [(8, 2, 150), (8, 0, 50), (16, 0, 100), (8, 6, 200), (1, 3, 7)])
def test_png_with_fewer_rows_than_it_says_is_truncated(rows, depth, colour, row):
    pixels = (b"\0" + b"\x55" * row) * 40
    assert decode_image(png_that_claims(50, 40, pixels, depth=depth, colour=colour)).size == (50, 40)
    short = png_that_claims(50, 40, pixels[: rows * (row + 1)], depth=depth, colour=colour)
    assert cause_of(short) == "truncated"
    assert decode_image(short, allow_truncated=True).size == (50, 40)


def test_interlaced_png_without_its_last_pass_is_truncated():
    passes = [(1, 1), (1, 1), (2, 1), (2, 2), (4, 2), (4, 4), (8, 4)]  # of 8 x 8 pixels: width, height
    pixels = [(b"\0" + b"\x55" * width) * height for width, height in passes]
    assert decode_image(png_that_claims(8, 8, b"".join(pixels), colour=0, interlace=1)).getpixel((7, 7)) == (85,) * 3
    assert cause_of(png_that_claims(8, 8, b"".join(pixels[:-1]), colour=0, interlace=1)) == "truncated"


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"quality": 95}, {"restart_marker_rows": 1}])
def test_jpeg_with_less_data_than_it_says_is_truncated(mode, options):
    image = noise().convert(mode)
    for width, height in ((400, 300), (64, 64)):
        assert cause_of(jpeg_that_claims(width, height, image, **options)) == "truncated"
    data = encode(image, "JPEG", **options)
    assert cause_of(data[: len(data) * 3 // 5] + b"\xff\xd9") == "truncated"
    assert cause_of(jpeg_that_claims(400, 300, noise(), progressive=True)) == "truncated"


@pytest.mark.parametrize(
    ("mode", "options"), [("RGB", {}), ("RGB", {"quality": 95, "subsampling": 0}), ("L", {}), ("CMYK", {})]
)
def test_progressive_image_whose_later_scans_are_missing_is_truncated(mode, options):
    data = encode(noise().convert(mode), "JPEG", progressive=True, **options)
    scans = [found.start() for found in re.finditer(b"\xff\xda", data)]
    assert decode_image(data).size == noise().size
    for cut in (*scans[1:], (scans[2] + scans[3]) // 2):
        assert cause_of(data[:cut] + b"\xff\xd9") == "truncated"
        assert decode_image(data[:cut] + b"\xff\xd9", allow_truncated=True).size == noise().size


@pytest.mark.parametrize("level", [0, 127, 128, 255])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_plain_images_are_whole(level, mode):
    image = Image.new("L", (33, 47), level).convert(mode)
    assert decode_image(encode(image, "JPEG") + b"what comes after an image").size == (33, 47)
    for options in ({"progressive": True}, {"restart_marker_rows": 1}):
        assert decode_image(encode(image, "JPEG", **options)).size == (33, 47)
    for kind in ("1", "L", "P", "LA", "RGB", "RGBA", "I;16"):
        assert decode_image(encode(Image.new(kind, (33, 47)), "PNG")).size == (33, 47)


def test_pipes_devices_and_huge_files_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(6 * 2**30)
    (tmp_path / "loop.png").symlink_to("loop.png")
    assert cause_of(tmp_path / "pipe.png") == "unreadable"
    assert cause_of(tmp_path / "zero.png") == "unreadable"
    assert cause_of(tmp_path / "loop.png") == "unreadable"
    assert cause_of(tmp_path / "huge.png") == "too large"
    assert cause_of(bytes(MAX_BYTES + 1)) == "too large"


@pytest.mark.parametrize("name", ["a\nb\x1b[31m.png", "\udcc4\udce3.png", "x" * 3000 + ".png", "\0.png"])
def test_message_about_an_odd_name_is_one_short_line(name):
    with pytest.raises(ImageDecodingError) as caught:
        decode_image(name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("source", [None, 12, [1], {"path": "a.png"}])
def test_what_is_no_image_at_all_is_named(source):
    with pytest.raises(ImageDecodingError, match=type(source).__name__):
        decode_image(source)


def test_bytearray_is_read_as_bytes():
    assert decode_image(bytearray(encode(noise(), "PNG"))).tobytes() == noise().tobytes()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "CMYK", "1"])
@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
def test_image_as_the_original_reads_it_is_what_pillow_alone_gives(mode, tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (4, 6, 4), dtype=np.uint8)
    image = Image.fromarray(values).convert(mode)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    image.save(path, exif=exif)
    expected = Image.open(path).convert("RGB")
    for source in (path, path.read_bytes(), Image.open(path)):
        read = decode_image(source, as_original=True)
        assert (read.mode, read.size, read.tobytes()) == ("RGB", (6, 4), expected.tobytes())
    assert decode_image(path).size == (4, 6)


def test_transparent_black_is_black_as_the_original_reads_it():
    image = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    assert decode_image(image, as_original=True).getpixel((0, 0)) == (0, 0, 0)
    assert decode_image(image).getpixel((0, 0)) == (255, 255, 255)


def test_image_as_the_original_reads_it_is_refused_for_the_same_causes():
    with pytest.raises(ImageDecodingError) as refused:
        decode_image(b"no image", as_original=True)
    assert refused.value.cause == "not an image"
