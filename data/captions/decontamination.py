"""No image of a test set in a training list, whichever data sets, languages and tasks the two come from.

COCO-CN, for one, has test images that are in the training lists of COCO's English and Japanese captions.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from ..files.image_ids import canonical_image_id
from ..rows.types import CaptionRow, QuestionRow

Row = TypeVar("Row", CaptionRow, QuestionRow)

# Mean difference of two thumbnails, of 255. Scaled to a third and compressed again, 400 emoji and 400 scenes stay below
# 9 from themselves; of two different ones, fewer than 1 in 100 pairs are below 10.
LOOKS_ALIKE = 10.0


class LeakError(ValueError):
    """An image of a test set is in a list to learn from."""


@dataclass
class Decontaminator:
    """Leaves the images of all test sets out of other lists, and counts them.

    Images are compared by their `image_id`, as `canonical_image_id` gives it. Give all test sets first.

    Attributes:
        strict: raise LeakError at the first such image.
        tests: the images of each test set.
        rows: how many rows of each list were looked at.
        removed: list -> image -> rows that were left out.
    """

    strict: bool = False
    tests: dict[str, set[str]] = field(default_factory=dict)
    rows: Counter[str] = field(default_factory=Counter)
    removed: dict[str, Counter[str]] = field(default_factory=dict)
    _found: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))  # (list, test) -> images

    def add_test_set(self, name: str, rows: Iterable[Row]) -> None:
        """Add the images of those rows whose split is a test.

        Raises:
            ValueError: there is none.
        """
        images = {row["image_id"] for row in rows if is_test(row)}
        if not images:
            raise ValueError(f"The test set {name} has no row of a split whose name begins with 'test'.")
        self.add_images(name, images)

    def add_images(self, name: str, images: Iterable[str]) -> None:
        """Add images to a test set."""
        self.tests.setdefault(name, set()).update(images)

    def subtract(self, name: str, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows, of captions or of questions, without those of test images in splits that are no test.

        Args:
            name: of the data set, for the account.
            rows: those of tests are all yielded.

        Raises:
            LeakError: there is one, and `strict` is set.
        """
        return (row for row in rows if is_test(row) or not self.is_leak(f"{name} {row['split']}", row["image_id"]))

    def is_leak(self, listed: str, image: str) -> bool:
        """Return whether the image of a row of the list `listed` is in a test set, and count it.

        Raises:
            LeakError: it is, and `strict` is set.
        """
        self.rows[listed] += 1
        if not (tests := self.tests_with(image)):
            return False
        if self.strict:
            raise LeakError(
                f"{image} is in the list {listed} and in the test set {tests[0]}; leave it out of the list, or "
                "have such images subtracted and counted: strict=False."
            )
        self.removed.setdefault(listed, Counter())[image] += 1
        for test in tests:
            self._found[listed, test].add(image)
        return True

    def tests_with(self, image: str) -> list[str]:
        """Return the names of the test sets that hold an image."""
        return [test for test, images in self.tests.items() if image in images]

    @property
    def num_removed(self) -> int:
        """Number of images that were left out of any list."""
        return len(set().union(*self.removed.values()))

    def __str__(self) -> str:
        """Return which list lost how many images to which test set."""
        sizes = ", ".join(f"{name} ({len(images)} images)" for name, images in self.tests.items())
        lines = [f"Test sets: {sizes or 'none'}"]
        for listed in self.rows:
            removed = self.removed.get(listed, Counter())
            by_test = ((name, len(self._found.get((listed, name), ()))) for name in self.tests)
            found = ", ".join(f"{number} of {name}" for name, number in by_test if number)
            counted = f" ({removed.total()} of {self.rows[listed]} rows)" if removed else ""
            lines.append(f"  {listed}: {len(removed)} test images left out{counted}{f': {found}' if found else ''}")
        return "\n".join(lines)


class PathDecontaminator(Decontaminator):
    """Compares images by their paths, though one may lie in another folder and have another size there.

    Two paths are one image if they end in the same name, or number, and

    - both names are COCO's (`COCO_train2014_000000000042`, or twelve digits), whatever the images look like; or
    - the images look alike, also where one is scaled or compressed again. Cut out of each other, they do not.

    So `cats/1.jpg` is not `dogs/1.jpg`. Doubt counts as a leak: of drawings, some look alike that are not the same.
    A copy under another name is not found.

    Args:
        decode: returns the image of a path in RGB.
        strict: raise LeakError at the first image of a test set.

    Attributes:
        namesakes: images that only have the name of one of a test set.
    """

    def __init__(self, decode: Callable[[str], Image.Image], *, strict: bool = False) -> None:
        super().__init__(strict)
        self.namesakes: set[str] = set()
        self._by_name: dict[str, dict[str, list[str]]] = {}  # name -> test set -> paths
        # Thumbnails of 8 x 8 colours: (192,) float32, 0..255.
        self._thumbnail = cache(
            lambda path: np.asarray(decode(path).resize((8, 8), Image.Resampling.BOX), np.float32).ravel()
        )

    def add_images(self, name: str, images: Iterable[str]) -> None:
        """Add the paths of images to a test set."""
        for path in sorted(set(images) - self.tests.get(name, set())):
            self._by_name.setdefault(bare_name(path), {}).setdefault(name, []).append(path)
            super().add_images(name, [path])

    def tests_with(self, image: str) -> list[str]:
        """Return the names of the test sets that hold the image of a path."""
        candidates = self._by_name.get(bare_name(image), {})
        found = [test for test, paths in candidates.items() if any(self._is_same(image, path) for path in paths)]
        if candidates and not found:
            self.namesakes.add(image)
        return found

    def _is_same(self, image: str, other: str) -> bool:
        if all(canonical_image_id(Path(path).name).startswith("coco:") for path in (image, other)):
            return True
        return np.abs(self._thumbnail(image) - self._thumbnail(other)).mean() < LOOKS_ALIKE


def is_test(row: CaptionRow | QuestionRow) -> bool:
    """Return whether a row is of a split to be evaluated on: its name begins with "test"."""
    return row["split"].startswith("test")


def bare_name(path: str) -> str:
    """Return the name of an image without its folder and suffix; numbers and COCO's names become one form."""
    return canonical_image_id(Path(path).name, "coco")


__all__ = ["Decontaminator", "LeakError", "PathDecontaminator", "is_test"]
