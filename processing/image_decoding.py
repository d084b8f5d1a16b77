"""One decoder for every image that enters the package: 8-bit RGB comes out, or an error that names its cause.

Images collected from the web are rotated by EXIF, transparent, 16 bit, CMYK, cut off or hostile. Everything that
reads an image goes through `decode_image`, so that such a file is treated alike in training, evaluation and search.
"""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

# Pillow warns from this size on and refuses twice as much: refusing at the warning makes the two agree.
MAX_PIXELS = 89_478_485
MAX_SIDE = 10_000

CAUSES = ("file missing", "empty file", "not an image", "truncated", "too large", "unreadable")


class ImageDecodingError(ValueError):
    """An image that cannot be decoded; `cause` is one of `CAUSES`, for counting."""

    # One required argument: a DataLoader rebuilds a worker's exception from its message alone.
    def __init__(self, message: str, cause: str = "unreadable"):
        super().__init__(message)
        self.cause = cause


def decode_image(
    source: str | os.PathLike | bytes | Image.Image,
    *,
    max_pixels: int = MAX_PIXELS,
    max_side: int = MAX_SIDE,
    allow_truncated: bool = False,
) -> Image.Image:
    """Return the image as a loaded PIL image in mode RGB.

    The EXIF orientation is applied, so boxes refer to the upright image. Transparency is composed on white. 16-bit
    grey is scaled to 8 bit (divided by 257); 32-bit integers count as 16-bit values; float grey is scaled from the
    smallest of the ranges 0..1, 0..255 and 0..65535 that holds it. CMYK is converted as Pillow does. Of an animation
    the first frame is taken.

    Args:
        source: a path, the bytes of an encoded image, or a PIL image (of an animation: its current frame). Never a
            URL.
        max_pixels: largest width x height, checked in the header before a pixel is decoded. Pillow itself refuses more
            than twice `PIL.Image.MAX_IMAGE_PIXELS`, whatever is given here.
        max_side: largest width or height in pixels.
        allow_truncated: decode a file that ends too early as far as it goes; the missing rows are black or grey.

    Raises:
        ImageDecodingError: with `.cause` in `CAUSES`.
    """
    name = _describe(source)
    image = source if isinstance(source, Image.Image) else _open(_read(source, name), name, allow_truncated)
    width, height = image.size
    if 0 in (width, height):
        raise ImageDecodingError(f"{name} has a side of 0 pixels ({width} x {height}); leave it out.")
    if max(width, height) > max_side or width * height > max_pixels:
        raise ImageDecodingError(
            f"{name} is {width} x {height} pixels, above the limit of {max_side} a side and {max_pixels} in all; "
            "shrink it, or raise `max_side` and `max_pixels` if you trust it.",
            "too large",
        )
    _load(image, name, allow_truncated)
    try:
        return _to_rgb(ImageOps.exif_transpose(image))
    except Exception as error:
        raise ImageDecodingError(f"{name} cannot be converted to RGB ({error}); leave it out or re-save it.") from error


def _describe(source: str | os.PathLike | bytes | Image.Image) -> str:
    if isinstance(source, bytes):
        return f"image of {len(source)} bytes"
    if isinstance(source, Image.Image):
        return f"image {getattr(source, 'filename', '') or 'in memory'}"
    return f"image {os.fspath(source)}"


def _read(source: str | os.PathLike | bytes, name: str) -> bytes:
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except FileNotFoundError as error:
        hint = " URLs are not opened: download it first." if "://" in name else " Check the path or the image root."
        raise ImageDecodingError(f"{name} does not exist.{hint}", "file missing") from error
    except (OSError, ValueError) as error:
        raise ImageDecodingError(f"{name} cannot be read ({error}); check the path and its permissions.") from error
    if not data:
        raise ImageDecodingError(f"{name} is empty (0 bytes); fetch it again or leave it out.", "empty file")
    return data


def _open(data: bytes, name: str, allow_truncated: bool) -> Image.Image:
    # An end-of-image marker lets the JPEG decoder deliver what it holds, also of a progressive file; others ignore it.
    stream = io.BytesIO(data + b"\xff\xd9" if allow_truncated else data)
    try:
        image = Image.open(stream)
        if image.format == "EPS":
            raise UnidentifiedImageError("PostScript is a program, which Pillow would hand to Ghostscript")
        return image
    except UnidentifiedImageError as error:
        raise ImageDecodingError(
            f"{name} is not an image; it begins with {data[:12]!r}. Leave it out or convert it.", "not an image"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageDecodingError(f"{name} is too large ({error}); shrink it.", "too large") from error
    except Exception as error:  # plugins raise nearly anything on damaged headers
        raise _damaged(name, error) from error


def _load(image: Image.Image, name: str, allow_truncated: bool) -> None:
    try:
        image.load()
    except Exception as error:  # as above, on damaged pixels
        damaged = _damaged(name, error)
        if not (allow_truncated and damaged.cause == "truncated" and isinstance(image, ImageFile.ImageFile)):
            raise damaged from error
        # The rows decoded so far are in place. Without open tiles Pillow takes them as they are; its own switch for
        # this, LOAD_TRUNCATED_IMAGES, would change every other user of Pillow in the process.
        image.tile = []


def _damaged(name: str, error: Exception) -> ImageDecodingError:
    if "truncated" in str(error).lower() or isinstance(error, EOFError):
        return ImageDecodingError(
            f"{name} ends too early ({error}); fetch it again, or pass `allow_truncated=True` to keep what is there.",
            "truncated",
        )
    return ImageDecodingError(f"{name} is damaged ({type(error).__name__}: {error}); fetch it again or leave it out.")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        values = np.nan_to_num(np.asarray(image, dtype=np.float32))
        top = 65535.0 if image.mode != "F" else next((top for top in (1.0, 255.0) if values.max() <= top), 65535.0)
        image = Image.fromarray((values.clip(0, top) * (255 / top)).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


__all__ = ["CAUSES", "MAX_PIXELS", "MAX_SIDE", "ImageDecodingError", "decode_image"]
