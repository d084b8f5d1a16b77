"""The word pieces of XLM-R that texts in the seven languages need: a fifth of the 250 thousand.

Of a vocabulary of Unigram pieces these are kept:

- the special tokens, and the mark of a word's beginning;
- every single character, alone and at a word's beginning, that is Latin, Han, kana or Hangul, a digit, punctuation, or
  a symbol such as an emoji, so that no text of the seven languages has an unknown character that had none before;
- longer pieces of these characters with a score of `MIN_SCORE` or more, `MIN_SCORE_CJK` where they begin with Han, kana
  or Hangul, of which there is less text. Their Latin letters must be those of English, German, French and Czech: that
  leaves out what is Vietnamese, Polish or Turkish alone, but not what is Spanish.

A word whose piece is gone is made of several shorter ones. The choice depends on no data set.
"""

import unicodedata
from collections.abc import Iterable
from functools import cache

from ..data.rows.scripts import main_script
from ..processing.tokenizers.unigram import MASK_TOKEN, SPECIAL_TOKENS, WORD_START

MIN_SCORE, MIN_SCORE_CJK = -12.9, -13.8  # log probability of a piece in the texts of XLM-R, in 100 languages
OWN_LETTERS = "abcdefghijklmnopqrstuvwxyzäöüßàâæçéèêëîïôœùûÿáčďěíňóřšťúůýž"
EMOJI_MARKS = "\ufe0f\u20e3"  # "shown as emoji", and the keycap


def seven_language_pieces(vocab: Iterable[tuple[str, float]]) -> list[int]:
    """Return the ids of the pieces to keep, ascending.

    Args:
        vocab: pieces and their scores, in the order of the ids.
    """
    return [number for number, (piece, score) in enumerate(vocab) if _is_kept(piece, score)]


def _is_kept(piece: str, score: float) -> bool:
    if piece in (*SPECIAL_TOKENS, MASK_TOKEN, WORD_START):
        return True
    text = piece.removeprefix(WORD_START)
    if len(text) == 1:
        return _is_used(text)
    lowest = MIN_SCORE_CJK if main_script(text[0]) in ("Han", "Kana", "Hangul") else MIN_SCORE
    return score >= lowest and all(_is_used(one) and not _is_foreign(one) for one in text)


@cache
def _is_used(character: str) -> bool:
    """Return True for letters of the scripts of the seven languages, digits, punctuation and symbols."""
    is_visible = unicodedata.category(character)[0] in "LNPS" or character in EMOJI_MARKS
    return is_visible and main_script(character) != "other"


def _is_foreign(character: str) -> bool:
    return character.isalpha() and main_script(character) == "Latin" and character.lower() not in OWN_LETTERS


__all__ = ["MIN_SCORE", "MIN_SCORE_CJK", "seven_language_pieces"]
