"""No image of a test set in a training list, whichever data sets and languages the two come from.

COCO-CN, for one, has test images that are in the training lists of COCO's English and Japanese captions.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field


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

    def add_test_set(self, name: str, rows: Iterable[Mapping]) -> None:
        """Add the images of those rows whose split is a test.

        Raises:
            ValueError: there is none.
        """
        images = {row["image_id"] for row in rows if is_test(row)}
        if not images:
            raise ValueError(f"The test set {name} has no row of a split whose name begins with 'test'.")
        self.tests.setdefault(name, set()).update(images)

    def subtract(self, name: str, rows: Iterable[Mapping]) -> Iterator[Mapping]:
        """Yield the rows, of captions or of questions, without those of test images in splits that are no test.

        Args:
            name: of the data set, for the account.
            rows: with `image_id` and `split`; those of tests are all yielded.

        Raises:
            LeakError: there is one, and the guard is strict.
        """
        for row in rows:
            if is_test(row):
                yield row
                continue
            listed, image = f"{name} {row['split']}", row["image_id"]
            self.rows[listed] += 1
            tests = [test for test, images in self.tests.items() if image in images]
            if not tests:
                yield row
                continue
            if self.strict:
                raise LeakError(
                    f"{image} is in the list {listed} and in the test set {tests[0]}; leave it out of the list, or "
                    "have such images subtracted and counted: strict=False."
                )
            self.removed.setdefault(listed, Counter())[image] += 1

    def __str__(self) -> str:
        """Which list lost how many images to which test set."""
        sizes = ", ".join(f"{name} ({len(images)} images)" for name, images in self.tests.items())
        lines = [f"Test sets: {sizes or 'none'}"]
        for listed in self.rows:
            removed = self.removed.get(listed, Counter())
            by_test = ((name, len(removed.keys() & images)) for name, images in self.tests.items())
            found = ", ".join(f"{number} of {name}" for name, number in by_test if number)
            counted = f" ({removed.total()} of {self.rows[listed]} rows)" if removed else ""
            lines.append(f"  {listed}: {len(removed)} test images left out{counted}{f': {found}' if found else ''}")
        return "\n".join(lines)


def is_test(row: Mapping) -> bool:
    """Return whether a row is of a split to be evaluated on: its name begins with "test"."""
    return row["split"].startswith("test")


__all__ = ["Decontaminator", "LeakError", "is_test"]
