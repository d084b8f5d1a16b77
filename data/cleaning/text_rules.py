"""Texts of crawled pages to plain sentences, and the rules by which one is too short, not Chinese or unwanted.

A *Han character* is one of the CJK ideograph blocks of Unicode; kana, Hangul and punctuation are none.
"""

import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from html.parser import HTMLParser
from pathlib import Path

from ..files.bounded import MAX_TEXT_BYTES, read_bounded
from ..rows.report import BadRowError
from ..rows.text import check_unicode, clean_caption

MAX_LENGTH = 5_000  # characters of one raw text: a caption of 200 Han characters and much markup; beyond, it is a page
MAX_ROUNDS = 8  # a text escaped once needs three: one unescapes, one strips, one changes nothing

# A URL ends at a Chinese character, as on Weibo, and at what closes an HTML attribute or a bracket.
_URL = re.compile(r"(?:(?:https?|ftp)://|(?<![A-Za-z0-9.])www\.)[!#-&*-;=?-~]*", re.IGNORECASE)
# A name ends where Weibo ends it: after 30 letters, digits, Han characters, _ or -.
_NAME = re.compile(r"[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|(?://)?[@＠][\w·-]{1,30}[:：]?")
_NO_C_SHARP = "(?<![^A-Za-z0-9][A-Za-z])(?<!^[A-Za-z])(?<![#＃])"  # nor F#; iPhone#topic# is a hashtag
_TOPIC = re.compile(_NO_C_SHARP + "[#＃]++([^#＃]{1,50})[#＃]++")  # Weibo's form
_TAG = re.compile(_NO_C_SHARP + r"[#＃]++(?=\w)")
_RUN = re.compile(r"([^\w\s]|_)\1+")
_HAN = re.compile("[〇\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
_WRITTEN_TWICE = "…—"  # Chinese writes the ellipsis and the dash as two characters
_ZERO_WIDTH_JOINER = "\u200d"  # a format character that emoji are made with
_BREAKING_TAGS = {"p", "br", "div", "li", "tr", "td", "th", "hr", *(f"h{level}" for level in range(1, 7))}


def rewrite_text(text: object, steps: Sequence[Callable[[str], str]]) -> str:
    """Return the text after all steps, repeated until they change nothing, so that rewriting it once more is idle.

    Args:
        text: what the file of pairs holds.
        steps: such as `decode_text` and `traditional_to_simplified()`.

    Raises:
        BadRowError: it is no string, not valid Unicode, longer than `MAX_LENGTH`, broken HTML or escaped over and over,
            or what is left is empty, a URL, a file name or the word "image".
    """
    if not isinstance(text, str):
        raise BadRowError("text is no string", repr(text)[:80])
    check_unicode(text)
    if len(text) > MAX_LENGTH:
        raise BadRowError("text too long", f"{len(text)} characters, {text[:40]!r}...")
    start = text
    for _ in range(MAX_ROUNDS):
        before = text
        for step in steps:
            text = step(text)
        if text == before:
            break
    else:
        raise BadRowError("text escaped over and over", repr(start[:80]))
    clean_caption(text)  # raises where the readers would leave the caption out
    return text


def decode_text(text: str) -> str:
    """Return the sentence as a reader of the page sees it.

    Removes HTML, URLs, @names, the # of hashtags (not their words), control and zero-width characters and repeated
    punctuation, folds white space and composes characters (NFC). May uncover more of them, such as an escaped tag.
    """
    text = _URL.sub(" ", text)
    if "<" in text and ">" in text:
        text = _without_html(text)
    elif "&" in text:
        text = html.unescape(text)
    text = unicodedata.normalize("NFC", text)
    if not text.isprintable():
        text = "".join(map(_printable, text))
    text = _NAME.sub(" ", text)
    text = _TAG.sub("", _TOPIC.sub(r" \1 ", text))
    return " ".join(_RUN.sub(_shorten_run, text).split())


def _printable(character: str) -> str:
    if character.isspace():
        return " "
    dropped = unicodedata.category(character) in ("Cc", "Cf", "Co") and character != _ZERO_WIDTH_JOINER
    return "" if dropped else character


def _shorten_run(run: re.Match[str]) -> str:
    character = run[1]
    if not unicodedata.category(character).startswith("P") and character not in "~～":
        return run[0]  # C++, three hearts
    return character * 2 if character in _WRITTEN_TWICE else character


class _TextOfPage(HTMLParser):
    """Collects what a browser shows, with a space where it breaks the line."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.shown = True

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.shown = tag not in ("script", "style")
        if tag in _BREAKING_TAGS:
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self.shown = True
        if tag in _BREAKING_TAGS:
            self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        if self.shown:
            self.parts.append(data)


def _without_html(text: str) -> str:
    parser = _TextOfPage()
    end = text.rfind(">") + 1  # what follows holds no tag, and the parser takes quadratic time to find that out
    try:
        parser.feed(text[:end])
        parser.close()
    except AssertionError as error:  # the parser's answer to some declarations, in some versions of Python
        raise BadRowError("broken HTML", repr(text[:80])) from error
    return "".join([*parser.parts, html.unescape(text[end:]) if parser.shown else ""])


def traditional_to_simplified() -> Callable[[str], str]:
    """Return a function from traditional (or mixed) to simplified characters.

    Raises:
        ImportError: OpenCC is not installed.
    """
    try:
        from opencc import OpenCC
    except ImportError as error:
        raise ImportError("Simplified characters need OpenCC: pip install opencc") from error
    return OpenCC("t2s").convert


def count_han(text: str) -> int:
    """Return the number of Han characters."""
    return sum(map(len, _HAN.findall(text)))


def han_fraction(text: str) -> float:
    """Return the Han characters' fraction of all characters that are no white space; 0.0 for an empty text."""
    return count_han(text) / max(1, len("".join(text.split())))


class WordList:
    """Words that a text must not hold, in any case, also inside longer words.

    Args:
        files: UTF-8 files with one word a line.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is not UTF-8 or holds no word.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self.words = {word for file in files for word in _read_words(file)}
        self._lengths = sorted({len(word) for word in self.words})

    def find(self, text: str) -> str | None:
        """Return the first of the shortest words that the text holds, or None. The time does not grow with the list."""
        text = text.casefold()
        for length in self._lengths:
            for start in range(len(text) - length + 1):
                if text[start : start + length] in self.words:
                    return text[start : start + length]
        return None


def _read_words(file: Path) -> set[str]:
    words, data = set(), read_bounded(file, max_bytes=MAX_TEXT_BYTES)
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        try:
            words.add(unicodedata.normalize("NFC", line.decode().strip()).casefold())
        except UnicodeDecodeError as error:
            raise ValueError(f"{file}, line {number}: not UTF-8 ({error}); save the word list as UTF-8.") from error
    words.discard("")
    if not words:
        raise ValueError(f"{file} holds no words; write one a line, or leave the list out.")
    return words


__all__ = ["WordList", "count_han", "decode_text", "han_fraction", "rewrite_text", "traditional_to_simplified"]
