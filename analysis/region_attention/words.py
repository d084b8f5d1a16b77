"""Words in a text: found by their letters, or marked by a user as in "a red [key]"."""

import re
from collections.abc import Iterable

Span = tuple[int, int]  # first character, last + 1
MARK = re.compile(r"\[([^\[\]]*)\]")


def find_word(text: str, word: str) -> list[Span]:
    """Return where a word is in a text: as a word of its own, or if it is nowhere that, as a part."""
    if not word.strip():
        return []
    part = re.escape(word.strip())
    whole = [match.span() for match in re.finditer(rf"(?<!\w){part}(?!\w)", text)]
    return whole or [match.span() for match in re.finditer(part, text)]


def find_names(text: str, names: Iterable[str]) -> dict[str, Span]:
    """Return the first place of each name; of two that overlap the longer one has it, such as 闹钟 before 钟.

    Raises:
        ValueError: a name is nowhere else in the text.
    """
    found: dict[str, Span] = {}
    for name in sorted(set(names), key=lambda name: (-len(name), name)):
        free = [
            (first, last)
            for first, last in find_word(text, name)
            if all(last <= start or end <= first for start, end in found.values())
        ]
        if not free:
            raise ValueError(f"{name!r} is not in the text {text!r}.")
        found[name] = free[0]
    return found


def read_marks(text: str) -> tuple[str, list[Span]]:
    """Return a text without the marks around its words, and where the marked words are.

    Raises:
        ValueError: a mark is not closed, or holds no word.

    >>> read_marks("图中有[猫]和[钥匙]。")
    ('图中有猫和钥匙。', [(3, 4), (5, 7)])
    """
    plain, spans, start = "", [], 0
    for match in MARK.finditer(text):
        plain += text[start : match.start()]
        if not match[1].strip():
            raise ValueError(f"There is no word between the marks [ and ] in {text!r}.")
        spans.append((len(plain), len(plain) + len(match[1])))
        plain, start = plain + match[1], match.end()
    plain += text[start:]
    if set("[]") & set(plain):
        raise ValueError(f"A mark [ or ] in {text!r} has no partner; mark words like [this].")
    return plain, spans


__all__ = ["Span", "find_names", "find_word", "read_marks"]
