"""Which writing system a caption is in: cheap, and enough to see that captions do not fit their tokenizer.

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
# language -> the scripts it is written in
SCRIPTS = {
    "zh": {"Han"},
    "ja": {"Han", "Kana"},
    "ko": {"Hangul", "Han"},
    **{language: {"Latin"} for language in ("en", "de", "fr", "cs")},
}


def count_scripts(text: str) -> Counter[str]:
    """The number of letters in each script but "none", in the order above.

    >>> count_scripts("一只cat!")
    Counter({'Latin': 3, 'Han': 2, 'other': 0})
    """
    letters = Counter()
    for script, pattern in _RUNS.items():
        if runs := pattern.findall(text):
            letters[script] = sum(map(len, runs))
            text = pattern.sub("", text)
    letters["other"] = sum(map(len, _OTHER.findall(text)))
    return letters


def main_script(text: str) -> str:
    """The script of most letters of a text; ties go to the first in the order above.

    >>> main_script("一只cat"), main_script("これは猫です"), main_script("кот"), main_script("2026!")
    ('Latin', 'Kana', 'other', 'none')
    """
    script, count = count_scripts(text).most_common(1)[0]
    return script if count else "none"


__all__ = ["SCRIPTS", "count_scripts", "main_script"]
