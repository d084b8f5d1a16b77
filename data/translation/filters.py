"""Filters of translations that no model should learn from: empty, copied, cut off, looping, in another script ...

Every filter looks at one caption and its translation; `PairCounter` finds what only shows over the whole corpus.
"""

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from ..rows.report import BadRowError
from ..rows.scripts import check_language, is_in_wrong_script
from ..rows.text import clean_caption

# filter -> what it leaves out, in the order in which they are asked
FILTERS = {
    "source too long": "the caption has more tokens than the run or the model admits, and was not translated",
    "model failed": "the model raised an error on this caption alone",
    "cut off": "the translation did not end where it may end",
    "unknown token": "the translation holds what the model's vocabulary cannot write",
    "empty": "nothing, a URL, a file name or a placeholder",
    "special token": "a token of the model's own, such as </s> or __de__",
    "wrong script": "another script than the language's; Japanese without kana, Chinese with kana",
    "copied": "the caption itself, or nearly all of its words in their order",
    "length ratio": "less than 0.3 or more than 3 times as long as usual for the two languages",
    "repetition": "four words (Chinese, Japanese: characters) in a row more than three times",
    "number lost": "a number of two digits or more is missing",
    "one for many": "one translation of many different captions",
    "duplicate": "the image has this text already",
}
ALWAYS_ON = ("source too long", "model failed", "empty", "duplicate")
SWITCHES = tuple(name for name in FILTERS if name not in ALWAYS_ON)

# Characters for the same meaning, English = 1; measured: between the captions of EmojiScenes and the names of emoji7.
CHARACTERS = {"zh": 0.3, "en": 1.0, "de": 1.1, "fr": 1.1, "cs": 1.1, "ja": 0.4, "ko": 0.5}
MIN_RATIO, MAX_RATIO = 0.3, 3.0
LENGTH_SLACK = 8  # characters, in English: a short name is often a long word elsewhere
NGRAM, MAX_REPETITIONS = 4, 3
MIN_COPIED_WORDS = 5  # from so many words on, a copy need not be exact

_SPECIAL = re.compile(r"</?s>|<pad>|<unk>|<mask>|<2\w+>|>>\w+<<|__\w{2,3}__|\b[a-z]{3}_[A-Z][a-z]{3}\b|[▁⁇\ufffd]")
_NUMBER = re.compile(r"\d(?:[.,\u2009\u00a0' ]?\d)+")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class TranslationFilter:
    """Filter of the translations of captions.

    Attributes:
        source_language: of the captions, one of `SCRIPTS`.
        language: of the translations.
        skip: filters of `SWITCHES` that are turned off.

    Raises:
        ValueError: a language or a filter is unknown.
    """

    source_language: str
    language: str
    skip: Collection[str] = ()

    def __post_init__(self) -> None:
        for language in (self.source_language, self.language):
            check_language(language)
        check_filters(self.skip)

    def fault(self, source: str, text: str | None, model_fault: str | None = None) -> tuple[str, str] | None:
        """Return the first filter that leaves a translation out, and what it found; None for a good one.

        Args:
            text: its translation, None if there is none.
            model_fault: what the model that made it says: the name of a filter, ": " and what was found.
        """
        if text is None:
            name, _, found = (model_fault or "model failed").partition(": ")
            return name, f"{source[:80]!r}: {found}"
        if model_fault and model_fault not in self.skip:
            return model_fault, _show(source, text)
        for name, is_bad in _CHECKS.items():
            if name not in self.skip and is_bad(self, source, text):
                return name, _show(source, text)
        return None

    def _is_empty(self, source: str, text: str) -> bool:
        try:
            clean_caption(text)
        except BadRowError:
            return True
        return False

    def _has_special_token(self, source: str, text: str) -> bool:
        return any(token not in source for token in _SPECIAL.findall(text))

    def _is_in_wrong_script(self, source: str, text: str) -> bool:
        has_letters = any(map(str.isalpha, text)) or not any(map(str.isalpha, source))
        return not has_letters or is_in_wrong_script(text, self.language)

    def _is_copied(self, source: str, text: str) -> bool:
        old, new = (_WORD.findall(caption.casefold()) for caption in (source, text))
        if len(new) < MIN_COPIED_WORDS:
            return old == new and len(new) > 1  # one word may be the same in both: taxi, pizza
        same = difflib.SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
        return sum(block.size for block in same) > 0.8 * len(new)

    def _has_wrong_length(self, source: str, text: str) -> bool:
        old = len(source) / CHARACTERS[self.source_language] + LENGTH_SLACK
        new = len(text) / CHARACTERS[self.language] + LENGTH_SLACK
        return not MIN_RATIO <= new / old <= MAX_RATIO

    def _repeats_itself(self, source: str, text: str) -> bool:
        allowed = max(MAX_REPETITIONS, _most_repetitions(source, self.source_language))
        return _most_repetitions(text, self.language) > allowed

    def _lost_a_number(self, source: str, text: str) -> bool:
        return bool(_numbers(source) - _numbers(text))


_CHECKS: dict[str, Callable[[TranslationFilter, str, str], bool]] = {
    "empty": TranslationFilter._is_empty,
    "special token": TranslationFilter._has_special_token,
    "wrong script": TranslationFilter._is_in_wrong_script,
    "copied": TranslationFilter._is_copied,
    "length ratio": TranslationFilter._has_wrong_length,
    "repetition": TranslationFilter._repeats_itself,
    "number lost": TranslationFilter._lost_a_number,
}


def check_filters(names: Collection[str]) -> None:
    """Raise ValueError for a name that is none of `SWITCHES`; the message holds the nearest one."""
    for name in names:
        if name not in SWITCHES:
            nearest = difflib.get_close_matches(name, SWITCHES, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(SWITCHES)}."
            raise ValueError(f"{name!r} is no filter that can be skipped; {hint}")


def _most_repetitions(text: str, language: str) -> int:
    units = [c for c in text if not c.isspace()] if language in ("zh", "ja") else text.casefold().split()
    grams = Counter(zip(*(units[start:] for start in range(NGRAM)), strict=False))
    return max(grams.values(), default=0)


def _numbers(text: str) -> Counter[str]:
    found = _NUMBER.findall(unicodedata.normalize("NFKC", text))
    return Counter("".join(filter(str.isdecimal, number)) for number in found)


def _show(source: str, text: str) -> str:
    return f"{source[:80]!r} -> {text[:80]!r}"


__all__ = ["FILTERS", "SWITCHES", "TranslationFilter", "check_filters"]
