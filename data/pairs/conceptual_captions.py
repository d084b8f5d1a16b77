"""Images that a downloader has named by the line of the list they come from."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def numbered_images(root: Path) -> Callable[[int], str]:
    """Return a function from a line number to the name of its image in `root`: 12.jpg, or 000012.jpg if padded.

    For a line without an image the function gives the name that the image would have.

    Raises:
        FileNotFoundError: no image in `root` is named by a number.
        ValueError: one is named 0, so that names count from 0 and lines from 1.
    """
    width = _padded_width(entry.name for entry in os.scandir(root))
    if width is None:
        raise FileNotFoundError(
            f"{root} holds no image named by the number of its line, such as 12{SUFFIXES[0]}; give another "
            'image_root, or the column that holds the paths: image_column "3".'
        )

    def find(number: int) -> str:
        names = [f"{number:0{width}}{suffix}" for suffix in SUFFIXES]
        return next((name for name in names if (root / name).is_file()), names[0])

    if (root / find(0)).is_file():
        raise ValueError(
            f"{root / find(0)}: images are counted from 0, but lines from 1, so that every caption would be another "
            'image\'s. Rename the images, or write the paths into a column and give it: image_column "3".'
        )
    return find


def _padded_width(names: Iterable[str]) -> int | None:
    """Return digits of a padded name, 0 where names are not padded, None where none is a number."""
    width = None
    for name in names:
        stem, suffix = os.path.splitext(name)
        if stem.isdecimal() and suffix in SUFFIXES:
            if stem[0] == "0":
                return len(stem)
            width = 0
    return width


__all__ = ["numbered_images"]
