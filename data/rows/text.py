"""Captions as users bring them to captions a model can learn from, or the reason why one cannot."""

import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import TypeVar

from .report import BadRowError

_URL = re.compile(r"(https?://|www\.)\S+", re.IGNORECASE)
_FILE_NAME = re.compile(r".+\.(jpe?g|png|gif|webp|bmp|tiff?|heic|svg)", re.IGNORECASE)
_PLACEHOLDERS = {"image", "img", "图片", "图像"}
_INVISIBLE = frozenset("\u115f\u1160\u2800\u3164\uffa0\ufffc\ufffd")  # fillers, the blank of Braille, what was lost
MAX_CHARACTERS = 10_000  # of a caption; what is longer is a document

Raw = TypeVar("Raw")
Clean = TypeVar("Clean")


def clean_caption(text: object) -> str:
    """Return the text without control characters and U+FEFF, white space folded to single spaces.

    Raises:
        BadRowError: it is no string, is not valid Unicode, is blank, longer than `MAX_CHARACTERS`, or only a URL, a
            file name or the word "image".
    """
    if not isinstance(text, str):
        raise BadRowError("text is no string", repr(text)[:80])
    check_unicode(text)
    if len(text) > MAX_CHARACTERS:
        raise BadRowError("text too long", f"{len(text):,} characters, more than {MAX_CHARACTERS:,}")
    printable = (c for c in text if c.isspace() or (c != "\ufeff" and unicodedata.category(c) != "Cc"))
    cleaned = " ".join("".join(printable).split())
    if is_blank(cleaned):
        raise BadRowError("empty text", ascii(text[:80])[:80])
    if _URL.fullmatch(cleaned) or _FILE_NAME.fullmatch(cleaned) or cleaned.casefold() in _PLACEHOLDERS:
        raise BadRowError("useless text", repr(cleaned[:80]))
    return cleaned


def clean_each(values: Iterable[Raw], clean: Callable[[Raw], Clean]) -> tuple[list[Clean], list[BadRowError]]:
    """Return what `clean` makes of the values, and the errors of those that it refuses.

    Raises:
        BadRowError: it refuses all, or there are none.
    """
    cleaned, errors = [], []
    for value in values:
        try:
            cleaned.append(clean(value))
        except BadRowError as error:
            errors.append(error)
    if not cleaned:
        raise errors[0] if errors else BadRowError("empty text", "there is no caption")
    return cleaned, errors


def is_blank(text: str) -> bool:
    """Return True where nothing can be read: no letter, digit, mark of punctuation or symbol in the whole text.

    White space, control, zero-width, private-use and unassigned characters, marks without a letter, and fillers remain.
    """
    return not any(unicodedata.category(character)[0] in "LNPS" and character not in _INVISIBLE for character in text)


def check_unicode(text: str) -> None:
    """Raise BadRowError where bytes that are not UTF-8 were read into the text (as lone surrogates)."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRowError("invalid UTF-8", ascii(text[:80])) from error


__all__ = ["MAX_CHARACTERS", "check_unicode", "clean_caption", "clean_each", "is_blank"]
