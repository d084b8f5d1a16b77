"""Templates that the names of classes are put into, such as 一张{}的照片. Users may bring their own."""

from pathlib import Path

from ..rows.scripts import check_language
from .class_file import describe_faults, read_lines

FOLDER = Path(__file__).parent / "templates"
PLACE = "{}"  # of the name; fill it with `str.replace`, as a user's template may have other braces


def read_templates(path: str | Path) -> tuple[str, ...]:
    """Return the templates of a text file, one a line with exactly one {}; lines that begin with # are comments.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no text file in UTF-8, holds no template, or a line has no {} or two, or stands there twice;
            up to five are named.
    """
    path, first, faults = Path(path), dict[str, int](), list[str]()
    for number, line in read_lines(path):
        template = line.strip()
        if template.count(PLACE) != 1:
            faults.append(f"row {number}, {template[:80]!r}, has {template.count(PLACE)} places {PLACE} for the name")
        elif first.setdefault(template, number) != number:
            faults.append(f"rows {first[template]} and {number} are the same template, {template[:80]!r}")
    if faults:
        raise ValueError(describe_faults(path, faults, f"write each template once, with one {PLACE}"))
    if not first:
        raise ValueError(f"{path} holds no template; write one a line, such as 一张{PLACE}的照片.")
    return tuple(first)


def load_templates(language: str) -> tuple[str, ...]:
    """Return our templates of a language: the bare name and four sentences, the same by meaning in every language.

    Raises:
        ValueError: there are none in this language.

    >>> load_templates("zh")
    ('{}', '一张{}的照片', '这是{}', '图片里有{}', '{}的图片')
    """
    check_language(language)
    return read_templates(FOLDER / f"{language}.txt")


__all__ = ["PLACE", "load_templates", "read_templates"]
