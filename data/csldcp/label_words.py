"""Two characters that stand for each class in a masked sentence, and files that map classes to something."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from ..rows.text_files import open_text

LENGTH = 2


def label_words(classes: Sequence[str]) -> list[str]:
    """Return two characters for each class: the first two different ones of its name.

    Where an earlier class has these, it is the next pair of the name: its first character with its third, and so on.

    >>> label_words(["农业工程", "农业资源利用"])
    ['农业', '农资']

    Raises:
        ValueError: a name has no pair that is free.
    """
    words: list[str] = []
    for name in classes:
        letters = dict.fromkeys(letter for letter in name if letter.isalnum())
        free = ("".join(pair) for pair in combinations(letters, LENGTH) if "".join(pair) not in words)
        if (word := next(free, None)) is None:
            raise ValueError(f"{name} has no two different characters that are free; give --label_words, a TSV of all.")
        words.append(word)
    return words


def check_label_words(words: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Return the words of the classes; raise ValueError if one has another length than two or stands for two classes.

    Args:
        words: one for each of the classes.
    """
    for word, name in zip(words, classes, strict=True):
        if len(word) != LENGTH:
            raise ValueError(f"The label word of {name} is {word!r}; give {LENGTH} characters.")
        if words.count(word) > 1:
            both = [other for other, one in zip(classes, words, strict=True) if one == word]
            raise ValueError(f"{' and '.join(both)} have the same label word {word!r}; give each its own.")
    return list(words)


def read_class_map(path: Path) -> dict[str, str]:
    """Return what a TSV file, `class<TAB>value`, says of each class; lines that begin with # are comments.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line has not two columns, or a class is there twice.
    """
    found: dict[str, str] = {}
    with open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.startswith("#"):
                continue
            cells = [cell.strip() for cell in line.split("\t")]
            if len(cells) != 2 or not all(cells):
                raise ValueError(f"{path}, line {number}: {line.strip()[:60]!r} is not class<TAB>value.")
            if cells[0] in found:
                raise ValueError(f"{path}, line {number}: {cells[0]} is there twice.")
            found[cells[0]] = cells[1]
    return found


__all__ = ["check_label_words", "label_words", "read_class_map"]
