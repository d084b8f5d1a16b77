"""Counters over pairs for their report, in memory that grows by 16 bytes a pair at most."""

import io
import math
from array import array
from collections import Counter
from typing import Generic, TypeVar

import numpy as np
from PIL import Image

from ..files.bounded import read_bounded
from ..files.hashing import fingerprint

Value = TypeVar("Value", str, bytes)

MAX_IMAGE_BYTES = 2**29  # more than any image that can be decoded
CANDIDATES = 1000  # any caption that more than 1 in so many pairs has is found
QUANTILES = {"minimum": 0.0, "median": 0.5, "95 %": 0.95, "maximum": 1.0}


class DuplicateCounter(Generic[Value]):
    """Counts how often values come again, by 64-bit hashes.

    With `keep_values`, those that come often are kept (the counters of Misra and Gries), so that they can be shown.
    """

    def __init__(self, *, keep_values: bool = False) -> None:
        self._hashes = array("Q")
        self._candidates: Counter[Value] | None = Counter() if keep_values else None

    def add(self, value: Value) -> None:
        """Count a value."""
        self._hashes.append(_hash(value))
        if self._candidates is None:
            return
        if value in self._candidates or len(self._candidates) < CANDIDATES:
            self._candidates[value] += 1
        else:  # one of each is cancelled: what remains came more than once in CANDIDATES
            self._candidates = Counter({value: n - 1 for value, n in self._candidates.items() if n > 1})

    @property
    def repeated(self) -> int:
        """Values that had come before."""
        return len(self._hashes) - len(np.unique(self._as_numpy()))

    def most_common(self, count: int) -> list[tuple[Value, int]]:
        """Return the most common values with their exact numbers; those that come once are none."""
        hashes, numbers = np.unique(self._as_numpy(), return_counts=True)
        candidates = self._candidates or ()
        found = {value: int(numbers[np.searchsorted(hashes, np.uint64(_hash(value)))]) for value in candidates}
        return [(value, n) for value, n in Counter(found).most_common(count) if n > 1]

    def _as_numpy(self) -> np.ndarray:
        return np.frombuffer(self._hashes, np.uint64)


def quantiles(numbers: Counter[int]) -> dict[str, int]:
    """Return minimum, median, 95 % and maximum of whole numbers that are given by how often each comes."""
    if not numbers:
        return {}
    values = sorted(numbers)
    reached = np.cumsum([numbers[value] for value in values])
    positions = np.searchsorted(reached, [max(1, math.ceil(part * reached[-1])) for part in QUANTILES.values()])
    return {name: values[position] for name, position in zip(QUANTILES, positions, strict=True)}


def read_image(image: bytes | str | Image.Image) -> tuple[bytes, int | None]:
    """Return the encoded bytes of a stored image and its shorter side in pixels, None if its header cannot be read.

    Of a decoded image: its pixels, and its shorter side.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no regular file, or too large for an image.
    """
    if isinstance(image, Image.Image):
        return image.tobytes(), min(image.size)
    encoded = image if isinstance(image, bytes) else read_bounded(image, max_bytes=MAX_IMAGE_BYTES)
    try:
        with Image.open(io.BytesIO(encoded)) as opened:
            return encoded, min(opened.size)
    except Exception:  # plugins raise nearly anything; such images are counted as bad rows elsewhere
        return encoded, None


def _hash(value: str | bytes) -> int:
    encoded = value if isinstance(value, bytes) else value.encode(errors="replace")
    return fingerprint(encoded)


__all__ = ["DuplicateCounter", "quantiles", "read_image"]
