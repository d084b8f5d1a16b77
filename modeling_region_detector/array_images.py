"""Arrays and tensors of pixels, and images of any mode, to 8-bit images, whatever their layout and range of values.

Values that could mean two things are refused, so that no image is read too dark, too bright or on its side in silence.
"""

from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard, Union

import numpy as np
from PIL import ExifTags, Image

if TYPE_CHECKING:
    from torch import Tensor

ArrayImage: TypeAlias = Union[np.ndarray, "Tensor"]

SINGLE = (str, bytes, bytearray, PathLike, Image.Image, Mapping)
CHANNELS = (3, 4)
ROUNDING = 1e-3  # by which values of 0..1 may leave it
MIN_WHITE = 16  # fractions of 0..255 that stay below would be as black as an overshoot of 0..1
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def iterate_images(images: object) -> Iterator[Any]:
    """Yield the images one by one: of one image, a batch (N, ...), an iterable of these, or nested ones."""
    if isinstance(images, SINGLE) or hasattr(images, "read") or not hasattr(images, "__iter__"):
        yield images
    elif is_array(images):
        yield from images if images.ndim == 4 else [images]
    else:
        assert isinstance(images, Iterable)
        for part in images:
            yield from iterate_images(part)


def is_array(image: object) -> TypeGuard[ArrayImage]:
    """Return whether an image is an array or a tensor of pixels."""
    # Asked by its attributes, since torch takes a second to import; an open file has a `detach` too.
    return isinstance(image, np.ndarray) or (hasattr(image, "detach") and hasattr(image, "ndim"))


def array_to_image(pixels: ArrayImage, *, channels: str | None = None) -> Image.Image:
    """Return an array or tensor as an image in mode L, RGB or RGBA.

    uint8 is taken as it is, bool as black and white, uint16 is divided by 257, other integers count as 0..255. Floats
    count as 0..1, or as 0..255 if they are whole numbers or reach above 16; they are rounded to 8 bits.

    Args:
        pixels: (H, W), or 1, 3 (RGB) or 4 (RGBA) channels in front, (C, H, W), or at the end, (H, W, C).
        channels: "channels_first" or "channels_last", for a shape that can be read both ways.

    Raises:
        ValueError: the shape or the values can be read in no way or in two: negative, NaN, of another range.
    """
    if not isinstance(pixels, np.ndarray):
        pixels = pixels.detach().cpu()
        pixels = (pixels.float() if pixels.is_floating_point() else pixels).numpy()  # NumPy has no bfloat16
    return Image.fromarray(to_8_bits(_channels_last(pixels, channels)))


def _channels_last(array: np.ndarray, channels: str | None) -> np.ndarray:
    shape = tuple(array.shape)
    if 0 in shape or array.ndim not in (2, 3):
        raise ValueError(f"An array of shape {shape} is no image; give (H, W), (H, W, C) or (C, H, W).")
    if array.ndim == 2:
        return array
    first, last = shape[0] in CHANNELS, shape[2] in CHANNELS
    if not (first or last):
        first, last = shape[0] == 1, shape[2] == 1
    if channels is not None:
        first, last = channels == "channels_first", channels != "channels_first"
    if first == last:
        raise ValueError(
            f"An array of shape {shape} can be read {'in two ways' if first else 'in no way'} as an image; give "
            "(H, W, C) or (C, H, W) with 1, 3 or 4 channels"
            f"{', and input_data_format=channels_first or channels_last' if first else ''}."
        )
    array = np.moveaxis(array, 0, 2) if first else array
    if array.shape[2] not in (1, *CHANNELS):
        raise ValueError(f"An array of shape {shape} has {array.shape[2]} channels; give 1, 3 or 4.")
    return array[..., 0] if array.shape[2] == 1 else array


def to_8_bits(values: np.ndarray, *, is_deep: bool = False) -> np.ndarray:
    """Return pixels as uint8, see `array_to_image`; with `is_deep` wider types may hold 0..65535, as files of grey do.

    Raises:
        ValueError: it is not certain what is black and white.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * 255
    if values.dtype.kind not in "iuf":
        raise ValueError(f"Pixels are of type {values.dtype}; give uint8 of 0..255, or floats of 0..1.")
    low, high = float(values.min()), float(values.max())  # NaN where there is one
    top = _find_white(values, low, high, is_deep)
    if top is None:
        raise ValueError(
            f"Pixels of type {values.dtype} reach from {low:g} to {high:g}, so it is not certain what is black and "
            "white; give uint8 of 0..255, floats of 0..1 or uint16 of 0..65535, not normalised."
        )
    return (values.astype(np.float32).clip(0, top) * (255 / top)).round().astype(np.uint8)


def _find_white(values: np.ndarray, low: float, high: float, is_deep: bool) -> float | None:
    """Return the value that means white, None where it is not certain."""
    if is_deep and 255.5 <= high <= 65535 and low >= -0.5:
        return 65535.0
    if values.dtype.kind == "f":
        if low >= -ROUNDING and high <= 1 + ROUNDING:
            return 1.0
        is_8_bit = low >= -0.5 and high < 255.5 and (high > MIN_WHITE or bool((values == values.round()).all()))
        return 255.0 if is_8_bit else None
    if (is_deep or values.dtype.str[1:] == "u2") and high > 0:  # of either byte order
        # Up to 255 it is 8 bits in a wider type, or 16 bits that are nearly black.
        return 65535.0 if 255 < high <= 65535 and low >= 0 else None
    return 255.0 if low >= 0 and high <= 255 else None


def to_rgb(image: Image.Image, *, as_original: bool = False) -> Image.Image:
    """Return the image in mode RGB, upright by its EXIF tag, transparency on white, 16 and 32 bits as 8.

    Floats count as 0..1, 0..255 or 0..65535, whichever is the smallest range that holds them.

    Args:
        image: of any mode.
        as_original: as the original BriVL does, without all this: Pillow's `convert("RGB")`.

    Raises:
        ValueError: more than 8 bits whose range is not certain, see `to_8_bits`.
    """
    if not as_original:
        image = turn_upright(image)
        if image.mode == "F" or image.mode.startswith("I"):
            values = np.asarray(image)
            image = Image.fromarray(to_8_bits(np.where(np.isnan(values), 0, values), is_deep=True))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")
    image.info = {}  # what is left of EXIF would turn it again, or fail, at the next call
    return image


def turn_upright(image: Image.Image) -> Image.Image:
    """Return a copy of the image, turned as its EXIF block says."""
    image.load()
    try:
        turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a broken block says nothing; readers of it raise nearly anything
        turn = None
    return image.copy() if turn is None else image.transpose(turn)


__all__ = ["ArrayImage", "array_to_image", "is_array", "iterate_images", "to_8_bits", "to_rgb", "turn_upright"]
