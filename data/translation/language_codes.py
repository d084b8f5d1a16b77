"""Language codes of translation models, and how a model is told into which language to translate.

*code*: what a model calls a language, such as de, deu_Latn or de_DE.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# language -> codes of M2M100, MBart, NLLB and the Marian models of many languages
CODES = {
    "zh": ("zh", "zh_CN", "zho_Hans", "cmn_Hans", "zho", "cmn"),
    "en": ("en", "en_XX", "eng_Latn", "eng"),
    "de": ("de", "de_DE", "deu_Latn", "deu"),
    "fr": ("fr", "fr_XX", "fra_Latn", "fra"),
    "cs": ("cs", "cs_CZ", "ces_Latn", "ces"),
    "ja": ("ja", "ja_XX", "jpn_Jpan", "jpn"),
    "ko": ("ko", "ko_KR", "kor_Hang", "kor"),
}


@dataclass(frozen=True)
class Direction:
    """Settings that make a model translate from one language into another.

    Attributes:
        source_code: for the tokenizer's `src_lang`; None where it has none.
        forced_bos_token_id: first token of every translation; None without one.
        prefix: what stands before every caption.
        is_named: one of these names the target; otherwise the model has but one.
    """

    source_code: str | None = None
    forced_bos_token_id: int | None = None
    prefix: str = ""
    is_named: bool = False


def find_direction(
    tokenizer: "PreTrainedTokenizerBase",
    source_language: str,
    language: str,
    *,
    codes: Mapping[str, str] | None = None,
    prefix: str = "",
) -> Direction:
    """Return what the tokenizer of a model needs for a direction.

    Args:
        source_language: one of `CODES`, also `language`.
        codes: a user's own code of a language.
        prefix: before every caption; {source} and {target} become the codes.

    Raises:
        ValueError: the tokenizer does not know a language.
    """
    codes = dict(codes or {})
    if prefix:
        filled = fill_template(prefix, source_language, language, codes)
        return Direction(prefix=filled, is_named=filled != prefix)
    if hasattr(tokenizer, "src_lang"):
        tokens = getattr(tokenizer, "lang_code_to_id", None) or tokenizer.get_added_vocab()
        source = _known_code(source_language, codes, tokens, "{}")
        return Direction(source, tokens[_known_code(language, codes, tokens, "{}")], is_named=True)
    if targets := getattr(tokenizer, "supported_language_codes", None):  # Marian's, such as >>deu<<
        return Direction(prefix=f">>{_known_code(language, codes, targets, '>>{}<<')}<< ", is_named=True)
    return Direction()


def _known_code(language: str, codes: Mapping[str, str], known: Mapping | Sequence, form: str) -> str:
    for code in [codes[language]] if language in codes else CODES[language]:
        if form.format(code) in known:
            return code
    tried = codes.get(language) or ", ".join(CODES[language])
    raise ValueError(
        f"The model has no code {tried} for {language!r}; give the one it has with --code {language}=CODE. "
        f"It knows {', '.join(sorted(known)[:40])}."
    )


def fill_template(template: str, source_language: str, language: str, codes: Mapping[str, str] | None = None) -> str:
    """Return the template with {source} and {target} replaced by the languages, or by the user's codes of them.

    >>> fill_template("Helsinki-NLP/opus-mt-{source}-{target}", "en", "ja", {"ja": "jap"})
    'Helsinki-NLP/opus-mt-en-jap'
    """
    codes = codes or {}
    source, target = (codes.get(name, name) for name in (source_language, language))
    return template.replace("{source}", source).replace("{target}", target)


__all__ = ["CODES", "Direction", "fill_template", "find_direction"]
