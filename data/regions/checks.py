"""The rules for the regions of an image, whoever made them: what does not keep them gets into no file."""

from typing import SupportsInt

import numpy as np

from ..rows.report import BadRowError
from ..rows.validation import MARGIN, MAX_EDGE

MIN_SIDE = 10  # of an image whose first pixel holds no region
MAX_ID = 2**31 - 1  # of a class, as files hold them
ROUNDING = 0.01  # of float16 probabilities and their sums


def check_array(name: str, values: object, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array of real, finite numbers; of float16 ones, float32 that float16 can hold.

    Args:
        name: for messages.
        values: an array or lists of numbers.
        dtype: of the result.
        shape: that it must have; -1 = any.

    Raises:
        BadRowError: it is not so.
    """
    if values is None:
        raise BadRowError("array missing", f"there are no {name}")
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:  # rows of unequal length
        raise BadRowError("no numbers", f"{name}: {str(error)[:100]}") from error
    if array.size and array.dtype.kind not in "biuf":
        raise BadRowError("no numbers", f"{name} is of {array.dtype}, not of real numbers")
    if array.ndim != len(shape) or any(want not in (-1, have) for want, have in zip(shape, array.shape, strict=True)):
        raise BadRowError("wrong shape", f"{name} is {array.shape} and must be {shape}")
    if not np.isfinite(array.astype(np.float64)).all():
        raise BadRowError("not finite", f"{name} holds NaN or infinity")
    if np.issubdtype(dtype, np.integer):
        if array.size and (array.min() < 0 or array.max() > MAX_ID or (array % 1).any()):
            raise BadRowError("no ids", f"{name} holds {array.min()} to {array.max()}, not whole numbers from 0")
        return array.astype(dtype)
    limit = float(np.finfo(dtype).max)
    if array.size and float(np.abs(array.astype(np.float64)).max()) > limit:
        raise BadRowError("not finite", f"{name} holds a number too large for {np.dtype(dtype).name}")
    return array.astype(np.float32 if dtype is np.float16 else dtype)


def check_image_size(height: object, width: object) -> tuple[int, int] | None:
    """Return height and width in pixels, None where both are unknown.

    Raises:
        BadRowError: they are no size that an image can have.
    """
    if height is None and width is None:
        return None
    sides = [_whole(side) for side in (height, width)]
    if not all(1 <= side <= MAX_EDGE for side in sides):
        raise BadRowError("no image size", f"the image would be {str(height)[:20]} high and {str(width)[:20]} wide")
    return sides[0], sides[1]


def _whole(side: object) -> int:
    """Return a whole number, 0 for anything else."""
    try:
        whole = int(side) if isinstance(side, SupportsInt) else 0
    except (ValueError, OverflowError):  # NaN, infinity
        return 0
    return whole if whole == side else 0


def check_boxes(boxes: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """Return boxes (n, 4) inside the image: x1, y1, x2, y2 in pixels, in fractions of it where it has no size.

    What leaves the image by a rounding is clipped.

    Raises:
        BadRowError: a box is reversed, or leaves the image by more.
    """
    height, width = size or (1, 1)
    limits = np.array([width, height, width, height], np.float32)
    margins = MARGIN * limits if size is None else np.maximum(MARGIN * limits, 1)
    wrong = (boxes[:, 2:] < boxes[:, :2]).any(axis=1) | (boxes < -margins).any(axis=1)
    wrong |= (boxes > limits + margins).any(axis=1)
    if size and min(size) >= MIN_SIDE and len(boxes) and boxes.max() <= 1:
        raise BadRowError("bad boxes", f"all boxes lie in the first pixel of {width} x {height}; are they fractions?")
    if wrong.any():
        row = int(wrong.argmax())
        found = ", ".join(f"{edge:g}" for edge in boxes[row])
        raise BadRowError("bad boxes", f"box {row} is {found} in an image of {width} x {height}; x1, y1, x2, y2 wanted")
    return np.clip(boxes, 0, limits)


def check_probabilities(probs: np.ndarray) -> np.ndarray:
    """Return class distributions (n, c).

    Raises:
        BadRowError: one holds a number that is no probability, or more than 1 in all.
    """
    if probs.size and not (probs.min() >= -ROUNDING and probs.sum(axis=1).max() <= 1 + 5 * ROUNDING):
        found = f"{probs.min():g} to {probs.max():g}, up to {probs.sum(axis=1).max():g} in all"
        raise BadRowError("no probabilities", f"class_probs holds {found}")
    return probs


__all__ = ["check_array", "check_boxes", "check_image_size", "check_probabilities"]
