"""Texts of strangers, such as the names of files, as a terminal and a log may show them."""

import re

# Control characters, line ends of Unicode, marks that turn the order of what follows, halves of characters.
_NOT_PRINTED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, *, keep_lines: bool = False) -> str:
    r"""Return a text with escapes in place of all that would act on a terminal or cannot be encoded.

    >>> printable("a\x1b[2J\udcff猫")
    'a\\x1b[2J\\udcff猫'

    Args:
        keep_lines: line ends and tabs stay, as of a message of several lines.
    """

    def escape(match: re.Match[str]) -> str:
        found = match[0]
        return found if keep_lines and found in "\n\t" else found.encode("unicode_escape").decode()

    return _NOT_PRINTED.sub(escape, text)


__all__ = ["printable"]
