"""Images that are text are read as files are, with the same limits; the text itself is in no message."""

import base64
import io

import numpy as np
import pytest
from PIL import Image
from wenlan.processing import ImageDecodingError, decode_image, image_decoding
from wenlan.processing.base64_images import is_base64_image

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))


def encode(image=NOISE, image_format="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def text_of(data):
    return base64.b64encode(data).decode()


def message_of(text, **options):
    with pytest.raises(ImageDecodingError) as caught:
        decode_image(text, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    assert text[:60] not in message
    assert text[-60:] not in message
    return message, caught.value.cause


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_data_uri_and_base64_give_the_pixels_of_the_file(image_format):
    data = encode(NOISE.convert("P") if image_format == "GIF" else NOISE, image_format)
    expected, text = decode_image(data).tobytes(), text_of(data)
    kind = image_format.lower()
    wrapped = "\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    for source in (
        f"data:image/{kind};base64,{text}",
        f"DATA:image/{kind};charset=utf-8;BASE64,{text}",
        f"data:;base64,{text}",
        f"data:image/{kind};base64,{text.replace('+', '%2B').replace('/', '%2F').replace('=', '%3D')}",
        f"data:image/{kind};base64,{text.rstrip('=')}",
        f"data:image/{kind};base64,\n{wrapped}\n",
        f"\n data:image/{kind}; base64,{text}",
        f"data:image/{kind};base64,{base64.urlsafe_b64encode(data).decode()}",
        text,
        text.rstrip("="),
        wrapped,
        f"\n{wrapped}",
        base64.urlsafe_b64encode(data).decode().rstrip("="),
    ):
        assert decode_image(source).tobytes() == expected


def test_smallest_image_in_base64_is_read():
    text = text_of(encode(Image.new("RGB", (1, 1), (255, 0, 0))))
    assert len(text) < 200
    assert decode_image(text).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("data:image/png," + "ab%20" * 100, "must be data:image/...;base64,"),
        ("data:image/svg+xml;utf8,<svg>" + "x" * 300, "must be data:image/...;base64,"),
        ("data:image/png;base64" + "A" * 300, "must be data:image/...;base64,"),
        ("data:image/png;base64," + "*" * 300, "no base64"),
        ("data:image/png;base64," + "é" * 300, "no base64"),
        ("data:image/png;base64," + "A" * 301, "no base64"),
        ("data:image/png;base64,", "is empty"),
        (f"{text_of(encode())[:300]}*{text_of(encode())}", "no base64"),
        ("data:image/png;base64," + text_of(b"no image at all" * 30), "is not an image"),
        (text_of(b"no image at all" * 30), "is not an image"),
        ("data:image/png;base64," + text_of(encode())[:4000], "ends too early"),
    ],
)
def test_text_that_is_no_image_has_one_line_without_it(text, reason):
    assert reason in message_of(text)[0]


def test_limits_of_files_hold(monkeypatch):
    text = f"data:image/png;base64,{text_of(encode())}"
    assert message_of(text, max_side=63)[1] == "too large"
    assert message_of(text, max_pixels=64 * 48 - 1)[1] == "too large"
    monkeypatch.setattr(image_decoding, "MAX_BYTES", 1000)
    assert message_of(text)[1] == "too large"
    monkeypatch.setattr(image_decoding, "MAX_BYTES", len(encode()) - 1)
    assert message_of(text)[1] == "too large"
    monkeypatch.setattr(image_decoding, "MAX_BYTES", len(encode()))
    assert decode_image(text).size == (64, 48)


def test_text_far_above_the_limit_is_not_decoded(monkeypatch):
    monkeypatch.setattr(image_decoding, "MAX_BYTES", 1000)
    assert message_of("data:image/png;base64," + "*" * 3000)[1] == "too large"


def test_path_that_looks_like_base64_stays_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    NOISE.save("R0lGODpicture", "PNG")
    assert not is_base64_image("R0lGODpicture")
    assert decode_image("R0lGODpicture").size == (64, 48)
    deep = tmp_path / ("a" * 120) / ("b" * 120)
    deep.mkdir(parents=True)
    NOISE.save(deep / "c", "PNG")
    assert decode_image(str(deep / "c")).size == (64, 48)


@pytest.mark.parametrize("path", ["missing.png", "/9j/missing.jpg", "folder/" * 40 + "image_1.png", "iVBOR.png", "a b"])
def test_missing_file_is_missing(path):
    assert not is_base64_image(path)
    with pytest.raises(ImageDecodingError) as caught:
        decode_image(path)
    assert caught.value.cause == "file missing"
