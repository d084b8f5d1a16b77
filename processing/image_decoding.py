"""One decoder for every image that enters the package: 8-bit RGB comes out, or an error that names its cause.

Images collected from the web are rotated by EXIF, transparent, 16 bit, CMYK, cut off or hostile. Everything that
reads an image goes through `decode_image`, so that such a file is treated alike in training, evaluation and search.
"""

import io
import os
import stat
from typing import TypeAlias

from PIL import Image, ImageFile, UnidentifiedImageError

from .array_images import ArrayImage, array_to_image, is_array, to_rgb
from .base64_images import decode_base64, is_base64_image
from .image_files import ORIENTATION, PNG_SIGNATURE, lacks_pixels, strip_png_texts

ImageSource: TypeAlias = str | os.PathLike | bytes | bytearray | Image.Image | ArrayImage

# Pillow warns from this size on and refuses twice as much: refusing at the warning makes the two agree.
MAX_PIXELS = 89_478_485
MAX_SIDE = 10_000
MAX_BYTES = 3 * MAX_PIXELS + 2**20  # of a file: an image of `MAX_PIXELS` that is not compressed

TOO_LARGE = "too large"
CAUSES = ("file missing", "empty file", "not an image", "truncated", TOO_LARGE, "unreadable")

KINDS_OF_FILES = {stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFCHR: "device", stat.S_IFSOCK: "socket"}


class ImageDecodingError(ValueError):
    """An image that cannot be decoded; `cause` is one of `CAUSES`, for counting."""

    # One required argument: a DataLoader rebuilds a worker's exception from its message alone.
    def __init__(self, message: str, cause: str = "unreadable"):
        super().__init__(message)
        self.cause = cause


def decode_image(
    source: ImageSource,
    *,
    max_pixels: int = MAX_PIXELS,
    max_side: int = MAX_SIDE,
    allow_truncated: bool = False,
    input_data_format: str | None = None,
    as_original: bool = False,
) -> Image.Image:
    """Return the image as a loaded PIL image in mode RGB that holds pixels and nothing else.

    The EXIF orientation is applied, so boxes refer to the upright image. Transparency is composed on white. 16-bit
    grey is scaled to 8 bit (divided by 257); 32-bit integers count as 16-bit values; float grey is scaled from 0..1,
    0..255 or 0..65535, NaN is black. Values for which that is not certain are refused, see `array_to_image`. CMYK is
    converted as Pillow does. Of an animation the first frame is taken. Broken EXIF counts as none; texts and colour
    profiles are not looked at.

    Args:
        source: a path, the bytes of an encoded image or the same as base64 or data URI, a PIL image (of an animation:
            its current frame), or an array or tensor of pixels (see `array_to_image`). Never a URL.
        max_pixels: largest width x height, checked in the header before a pixel is decoded. Pillow itself refuses more
            than twice `PIL.Image.MAX_IMAGE_PIXELS`, whatever is given here.
        max_side: largest width or height in pixels.
        allow_truncated: decode a file that ends too early as far as it goes; the missing rows are black or grey.
        input_data_format: "channels_first" or "channels_last", for an array of a shape that can be read both ways.
        as_original: convert as `PIL.Image.convert("RGB")` alone does, and so the original BriVL code: as it is stored,
            not turned, alpha dropped (what is transparent is mostly black then), 16 bit clipped.

    Raises:
        ImageDecodingError: with `.cause` in `CAUSES`.
    """
    name, limits = _describe(source), (max_side, max_pixels)
    if isinstance(source, Image.Image):
        image = source
        _load(image, name, limits, allow_truncated)
    elif is_array(source):
        try:
            image = array_to_image(source, channels=input_data_format)
        except ValueError as error:
            raise ImageDecodingError(str(error)) from error
        _load(image, name, limits, allow_truncated)
    else:
        image = _decode_file(_read(source, name), name, limits, allow_truncated)
    try:
        return to_rgb(image, as_original=as_original)
    except Exception as error:
        raise ImageDecodingError(f"{name} cannot be converted to RGB ({error}); leave it out or re-save it.") from error


def _describe(source: ImageSource) -> str:
    if isinstance(source, bytes | bytearray):
        return f"image of {len(source)} bytes"
    if isinstance(source, Image.Image):
        source = getattr(source, "filename", "") or "in memory"
    if not isinstance(source, str | os.PathLike):
        return f"image of type {type(source).__name__}"
    if is_base64_image(source):
        return f"image of {len(str(source))} characters in base64"
    name = os.fsdecode(source)
    name = name if len(name) <= 200 else f"{name[:80]} ... {name[-80:]}"
    return f"image {name if name.isprintable() else repr(name)}"


def _read(source: ImageSource, name: str) -> bytes:
    if isinstance(source, bytes | bytearray):
        data = bytes(source)
        _check_bytes(len(data), name)
    elif isinstance(source, str) and is_base64_image(source):
        _check_bytes(len(source) // 2, name)  # it holds at least as many
        try:
            data = decode_base64(source)
        except ValueError as error:
            raise ImageDecodingError(f"{name} cannot be read: {error}.") from error
        _check_bytes(len(data), name)
    elif isinstance(source, str | os.PathLike):
        data = _read_file(source, name)
    else:
        raise ImageDecodingError(f"{name}: give a path, bytes, a PIL image, or an array or tensor of pixels.")
    if not data:
        raise ImageDecodingError(f"{name} is empty (0 bytes); fetch it again or leave it out.", "empty file")
    return data


def _read_file(source: str | os.PathLike, name: str) -> bytes:
    try:
        status = os.stat(source)
        if not stat.S_ISREG(status.st_mode):
            kind = KINDS_OF_FILES.get(stat.S_IFMT(status.st_mode), "device")
            raise ImageDecodingError(f"{name} is no file but a {kind}; leave it out.")
        _check_bytes(status.st_size, name)
        with open(source, "rb") as file:
            return file.read(status.st_size)
    except FileNotFoundError as error:
        raise ImageDecodingError(f"{name} does not exist. {_advise(os.fsdecode(source))}", "file missing") from error
    except ImageDecodingError:
        raise
    except (OSError, ValueError) as error:
        fault = getattr(error, "strerror", None) or error
        raise ImageDecodingError(f"{name} cannot be read ({fault}); check the path and its permissions.") from error


def _advise(path: str) -> str:
    """Return what to do about a missing file."""
    if "://" in path:
        return "URLs are not opened: download it first."
    folder, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    others = (stem + suffix.lower(), stem + suffix.upper(), name.lower(), name.upper(), stem.upper() + suffix.lower())
    for other in others:
        if other != name and os.path.lexists(os.path.join(folder, other)):
            return f"There is {other!r}, in another case."
    return "Check the path or the image root."


def _check_bytes(size: int, name: str) -> None:
    if size > MAX_BYTES:
        raise ImageDecodingError(
            f"{name} has {size:,} bytes, above the limit of {MAX_BYTES:,}; shrink it.", "too large"
        )


def _check_size(image: Image.Image, name: str, max_side: int, max_pixels: int) -> None:
    width, height = image.size
    if 0 in (width, height):
        raise ImageDecodingError(f"{name} has a side of 0 pixels ({width} x {height}); leave it out.")
    if max(width, height) > max_side or width * height > max_pixels:
        raise ImageDecodingError(
            f"{name} is {width} x {height} pixels, above the limit of {max_side} a side and {max_pixels} in all; "
            "shrink it, or raise `max_side` and `max_pixels` if you trust it.",
            TOO_LARGE,
        )


def _decode_file(data: bytes, name: str, limits: tuple[int, int], allow_truncated: bool) -> Image.Image:
    for keep in (ORIENTATION, (), None):
        try:
            image = _open(data, name, allow_truncated)
            _load(image, name, limits, allow_truncated)
        except ImageDecodingError as error:
            # Pillow's limits on the texts and the profile of a PNG are for the whole process: leave these out instead.
            if keep is None or "MAX_TEXT" not in str(error) or not data.startswith(PNG_SIGNATURE):
                raise
            data = strip_png_texts(data, keep=keep)
        else:
            break
    if not allow_truncated and lacks_pixels(image, data):
        raise _damaged(name, EOFError("its last rows are missing"))
    return image


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
        raise ImageDecodingError(f"{name} is too large ({error}); shrink it.", TOO_LARGE) from error
    except Exception as error:  # plugins raise nearly anything on damaged headers
        raise _damaged(name, error) from error


def _load(image: Image.Image, name: str, limits: tuple[int, int], allow_truncated: bool) -> None:
    """Decode the pixels of an image that the limits allow."""
    _check_size(image, name, *limits)
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


__all__ = ["CAUSES", "MAX_BYTES", "MAX_PIXELS", "MAX_SIDE", "ImageDecodingError", "ImageSource", "decode_image"]
