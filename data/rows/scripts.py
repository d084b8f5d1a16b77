"""Writing systems of captions: cheap, and enough to see that captions do not fit their tokenizer.

*script*: "Han", "Kana", "Hangul", "Latin", "other" (any other letters) or "none" (digits, punctuation, emoji).
"""

import re
from collections import Counter

_RUNS = {
    "Han": re.compile("[々〇\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"),
    "Kana": re.compile("[\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f]+"),
    "Hangul": re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]+"),
    "Latin": re.compile("[A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff\uff21-\uff3a\uff41-\uff5a]+"),
}
_OTHER = re.compile(r"[^\W\d_]+")
LATIN_LETTERS = 3  # that say as much as one Han, kana or Hangul character
HAN_ONLY = 8  # Japanese of so many letters has kana among them
# language -> the scripts it is written in
SCRIPTS = {
    "zh": {"Han"},
    "ja": {"Han", "Kana"},
    "ko": {"Hangul", "Han"},
    **{language: {"Latin"} for language in ("en", "de", "fr", "cs")},
}


def count_scripts(text: str) -> Counter[str]:
    """Return the number of letters in each script but "none", in the order above.

    >>> count_scripts("一只cat!")
    Counter({'Latin': 3, 'Han': 2, 'other': 0})
    """
    letters: Counter[str] = Counter()
    for script, pattern in _RUNS.items():
        if runs := pattern.findall(text):
            letters[script] = sum(map(len, runs))
            text = pattern.sub("", text)
    letters["other"] = sum(map(len, _OTHER.findall(text)))
    return letters


def main_script(text: str) -> str:
    """Return the script of most letters of a text; ties go to the first in the order above.

    >>> main_script("一只cat"), main_script("これは猫です"), main_script("кот"), main_script("2026!")
    ('Latin', 'Kana', 'other', 'none')
    """
    script, count = count_scripts(text).most_common(1)[0]
    return script if count else "none"


def is_in_wrong_script(text: str, language: str, *, strict: bool = True) -> bool:
    """Return whether a text with letters is mostly in scripts that its language is not written in.

    Args:
        strict: also where Chinese has kana, Korean Han characters alone, or Japanese `HAN_ONLY` and no kana, which a
            translation hardly ever has and a list of nouns may have.

    >>> is_in_wrong_script("iPhone手机", "zh"), is_in_wrong_script("これは猫です", "zh")
    (False, True)
    """
    letters = count_scripts(text)
    own = sum(letters[script] for script in SCRIPTS[language])
    foreign = letters.total() - own
    if SCRIPTS[language] == {"Latin"}:
        return foreign > own
    suspicious = {
        "zh": letters["Kana"] > 0,
        "ja": letters["Kana"] == 0 and letters["Han"] >= HAN_ONLY,
        "ko": letters["Hangul"] == 0 and own > 0,
    }
    return foreign > LATIN_LETTERS * own or (strict and suspicious[language])


def check_language(language: str) -> None:
    """Raise ValueError for a language that is none of `SCRIPTS`."""
    if language not in SCRIPTS:
        raise ValueError(f"{language!r} is none of the languages {', '.join(SCRIPTS)}.")


__all__ = ["SCRIPTS", "check_language", "count_scripts", "is_in_wrong_script", "main_script"]
