"""Which pictures to train on are judged on, too, though they may lie in another folder and have another size there."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
from PIL.Image import Resampling

from ...data.files.image_ids import picture_id
from ...processing.image_decoding import decode_image

# Mean difference of two thumbnails, of 255. Scaled to a third and compressed again, 400 emoji and 400 scenes stay below
# 9 from themselves; of two different ones, fewer than 1 in 100 pairs are below 10.
LOOKS_ALIKE = 10.0


def find_leaks(training: Iterable[str], judged: Iterable[str]) -> tuple[set[str], set[str]]:
    """Returns the paths to train on whose picture is judged on, and those that only have the name of such a picture.

    Two paths are one picture if they end in the same name, or number, and

    - both names are COCO's (`COCO_train2014_000000000042`, or twelve digits), whatever the pictures look like; or
    - the pictures look alike, also where one is scaled or compressed again. Cut out of each other, they do not.

    So `cats/1.jpg` is not `dogs/1.jpg`. Doubt counts as a leak: of drawings, some look alike that are not the same.
    A copy under another name is not found.
    """
    candidates: dict[str, list[str]] = {}
    for path in set(judged):
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
    """Returns the name of a picture without its folder and suffix; numbers and COCO's names become one form."""
    return picture_id(Path(path).name, "coco")


def is_of_coco(path: str) -> bool:
    """Whether a picture has the name that COCO gave it."""
    return picture_id(Path(path).name).startswith("coco:")


def thumbnail(path: str) -> np.ndarray:
    """Returns (192,) float32, 0..255: the picture in 8 x 8 colours."""
    return np.asarray(decode_image(path).resize((8, 8), Resampling.BOX), np.float32).ravel()


__all__ = ["find_leaks"]
