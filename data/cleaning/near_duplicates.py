"""Images that look alike: 64-bit difference hashes, and an index that finds the close ones without comparing all.

The *distance* of two hashes is the number of bits that differ.
"""

from array import array

import numpy as np
from PIL import Image

MAX_DISTANCE = 3
BANDS = MAX_DISTANCE + 1  # hashes at most MAX_DISTANCE bits apart agree in one of so many bands (pigeonhole)
BAND_BITS = 64 // BANDS


def difference_hash(image: Image.Image) -> int:
    """Return 64 bits of an image of 9 x 8 grey cells: is a cell brighter than its right neighbour?

    Stays nearly the same when the image is scaled or compressed again. Coarse for small drawings on a plain ground:
    their cells differ in few bits.
    """
    cells = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    return int.from_bytes(np.packbits(cells[:, :-1] > cells[:, 1:]).tobytes())


class NearDuplicateIndex:
    """Finds the hashes at most `MAX_DISTANCE` from a given one among those added.

    A look-up compares only hashes that share a band: about n / 16,384 of n where bits are evenly spread.
    """

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._owners = array("Q")
        self._buckets: list[dict[int, array]] = [{} for _ in range(BANDS)]  # band value -> positions

    def find(self, hash_value: int) -> list[int]:
        """Return the owners of the hashes near this one, in no fixed order; one may come several times."""
        shared = [bucket for band, key in _bands(hash_value) if (bucket := self._buckets[band].get(key)) is not None]
        if not shared:
            return []
        positions = np.concatenate([np.frombuffer(bucket, np.uint32) for bucket in shared])
        distances = np.bitwise_count(np.frombuffer(self._hashes, np.uint64)[positions] ^ np.uint64(hash_value))
        return [self._owners[position] for position in positions[distances <= MAX_DISTANCE]]

    def add(self, hash_value: int, owner: int) -> None:
        """Add a hash under the 64-bit number of its image."""
        for band, key in _bands(hash_value):
            self._buckets[band].setdefault(key, array("I")).append(len(self._hashes))
        self._hashes.append(hash_value)
        self._owners.append(owner)


def _bands(hash_value: int) -> list[tuple[int, int]]:
    return [(band, hash_value >> band * BAND_BITS & (1 << BAND_BITS) - 1) for band in range(BANDS)]


__all__ = ["MAX_DISTANCE", "NearDuplicateIndex", "difference_hash"]
