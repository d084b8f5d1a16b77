"""Which images to train on are evaluated on, too, though they may lie in another folder and have another size there."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
from PIL.Image import Resampling

from ...data.files.image_ids import canonical_image_id
from ...processing.image_decoding import decode_image

# Mean difference of two thumbnails, of 255. Scaled to a third and compressed again, 400 emoji and 400 scenes stay below
# 9 from themselves; of two different ones, fewer than 1 in 100 pairs are below 10.
LOOKS_ALIKE = 10.0


def find_leaks(training: Iterable[str], evaluated: Iterable[str]) -> tuple[set[str], set[str]]:
    """Return the paths to train on whose image is evaluated on, and those that only have the name of such an image.

    Two paths are one image if they end in the same name, or number, and

    - both names are COCO's (`COCO_train2014_000000000042`, or twelve digits), whatever the images look like; or
    - the images look alike, also where one is scaled or compressed again. Cut out of each other, they do not.

    So `cats/1.jpg` is not `dogs/1.jpg`. Doubt counts as a leak: of drawings, some look alike that are not the same.
    A copy under another name is not found.
    """
    candidates: dict[str, list[str]] = {}
    for path in set(evaluated):
        candidates.setdefault(bare_id(path), []).append(path)
    of_coco = {name for name, paths in candidates.items() if any(map(is_of_coco, paths))}
    looks = cache(lambda name: np.stack([thumbnail(path) for path in candidates[name]]))
    leaks, namesakes = set(), set()
    for path in set(training):
        if (name := bare_id(path)) not in candidates:
            continue
        is_leak = (is_of_coco(path) and name in of_coco) or bool(
            (np.abs(looks(name) - thumbnail(path)).mean(axis=1) < LOOKS_ALIKE).any()
        )
        (leaks if is_leak else namesakes).add(path)
    return leaks, namesakes


def bare_id(path: str) -> str:
    """Return the name of an image without its folder and suffix; numbers and COCO's names become one form."""
    return canonical_image_id(Path(path).name, "coco")


def is_of_coco(path: str) -> bool:
    """Return whether an image has the name that COCO gave it."""
    return canonical_image_id(Path(path).name).startswith("coco:")


def thumbnail(path: str) -> np.ndarray:
    """Return (192,) float32, 0..255: the image in 8 x 8 colours."""
    return np.asarray(decode_image(path).resize((8, 8), Resampling.BOX), np.float32).ravel()


__all__ = ["find_leaks"]
