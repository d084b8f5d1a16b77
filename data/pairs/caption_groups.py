"""Captions that say the same belong to one group: they must not be each other's negatives."""

import hashlib


def caption_group(text: str) -> int:
    """Return a 63-bit number, never negative, equal for captions that differ only in case and white space.

    It is a hash, the same in every process, on every machine and in every run. The queues of checkpoints hold it.

    >>> caption_group("A  red car ") == caption_group("a red car")
    True
    """
    folded = fold_caption(text).encode(errors="replace")
    return int.from_bytes(hashlib.blake2b(folded, digest_size=8).digest()) >> 1


def fold_caption(text: str) -> str:
    """Return the caption without differences of case and white space."""
    return " ".join(text.split()).casefold()


__all__ = ["caption_group", "fold_caption"]
