"""Facts about an image for the cleaning rules, read once: bytes, size, colours, fingerprint, difference hash."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..files.hashing import fingerprint
from ..rows.report import BadRowError
from ..rows.validation import resolve_path
from .near_duplicates import difference_hash

MAX_BYTES = 1 << 28  # a file of more is no photograph, and would be read into memory whole


@dataclass(frozen=True)
class ImageFacts:
    """Facts about an image that could be decoded.

    Attributes:
        num_bytes: of the encoded file.
        width, height: in pixels, upright.
        one_colour: all pixels are the same.
        fingerprint: of the encoded file's bytes.
        difference_hash: 64 bits, near for images that look alike.
    """

    num_bytes: int
    width: int
    height: int
    one_colour: bool
    fingerprint: int
    difference_hash: int


def examine_image(image: str | bytes, root: Path, decode: Callable[[bytes], Image.Image]) -> ImageFacts | BadRowError:
    """Return the image's facts, or the error that says why there are none (returned, not raised: other threads run).

    Args:
        image: the encoded image, or its path below `root`.
        root: the folder of the images.
        decode: returns an RGB image, or raises ValueError with an optional `cause`.
    """
    try:
        data = image if isinstance(image, bytes) else _read(root / relative_path(image, root))
        if not data:
            raise BadRowError("empty file", "an image of 0 bytes")
        pixels = decode(data)
    except BadRowError as error:
        return error
    except ValueError as error:
        return BadRowError.of_image(error)
    one_colour = pixels.getcolors(1) is not None
    return ImageFacts(len(data), *pixels.size, one_colour, fingerprint(data), difference_hash(pixels))


def relative_path(value: str, root: Path) -> str:
    """Return the path of an image relative to the (absolute) image root, with forward slashes.

    Raises:
        BadRowError: it is a URL, leaves the root, or is not valid Unicode.
    """
    path = resolve_path(value, root)
    if path == str(root):
        raise BadRowError("path leaves image root", f"{value[:200]!r} is the root itself")
    return path.removeprefix(os.path.join(root, "")).replace(os.sep, "/")


def _read(path: Path) -> bytes:
    if not os.path.isfile(path):  # False, where Path.is_file raises: a name too long
        raise BadRowError("file missing", "no such file below the image root")
    try:
        if (size := os.path.getsize(path)) > MAX_BYTES:
            raise BadRowError("too large", f"{size} bytes, above {MAX_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise BadRowError("unreadable", str(error)) from error


__all__ = ["ImageFacts", "examine_image", "relative_path"]
