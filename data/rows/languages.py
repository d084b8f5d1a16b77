"""The seven languages of the paper, in its order."""

from collections.abc import Sequence

LANGUAGE_NAMES = {
    "zh": "Chinese",
    "en": "English",
    "de": "German",
    "fr": "French",
    "cs": "Czech",
    "ja": "Japanese",
    "ko": "Korean",
}
LANGUAGES = tuple(LANGUAGE_NAMES)
SPACELESS = ("zh", "ja")  # without spaces between words
ALL = "all"


def languages_of(language: str) -> tuple[str, ...]:
    """Return the languages that an option means: the one that it names, or all of them for "all"."""
    return LANGUAGES if language == ALL else (language,)


def check_languages(language: str | Sequence[str] | None) -> None:
    """Raise ValueError for a language that is none of `LANGUAGES`; None passes."""
    given = [] if language is None else [language] if isinstance(language, str) else language
    if unknown := sorted({str(one) for one in given if one not in LANGUAGES}):
        raise ValueError(f"Unknown language {', '.join(map(repr, unknown))}; MLMM has {', '.join(LANGUAGES)}.")


__all__ = ["ALL", "LANGUAGES", "LANGUAGE_NAMES", "SPACELESS", "check_languages", "languages_of"]
