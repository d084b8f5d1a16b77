"""Checks of the texts that a processor gets, and of the tokenizer that it has."""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

from transformers import PreTrainedTokenizerBase

INVISIBLE = frozenset("\u115f\u1160\u2800\u3164\uffa0\ufffc\ufffd")  # fillers, the blank of Braille, what was lost
MAX_CHARACTERS = 10_000
VOCABULARY_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model")
NO_VOCABULARY = (
    "{} has no vocabulary: its tokenizer.json (or vocab.txt) is missing or empty. Copy the tokenizer's files of this "
    "model there."
)
PAIRS = ("text_pair", "text_target", "text_pair_target", "is_split_into_words")
WHOLE_TEXTS = 'Give each as one string: join a pair with a space, and words as they were (" ".join or "".join).'
NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})
SPARE_ROWS = 0.1  # of a model's embeddings, which its tokenizer may leave unused


def is_blank(text: str) -> bool:
    """Return True where nothing can be read: no letter, digit, mark of punctuation or symbol in the whole text."""
    return not any(unicodedata.category(character)[0] in "LNPS" and character not in INVISIBLE for character in text)


def read_texts(texts: str | Sequence[str], options: Mapping[str, Any] = NO_OPTIONS) -> str | list[str]:
    """Return a text, or a list of texts, each cut to `MAX_CHARACTERS`, which are more tokens than any model reads.

    Args:
        texts: whole sentences.
        options: of the tokenizer's call.

    Raises:
        ValueError: a text is blank, not a string, or holds half of a character; or it is a pair, or split into words.
    """
    for name in PAIRS:
        if options.get(name):
            raise ValueError(f"{name} is given, and the model reads one text a row. {WHOLE_TEXTS}")
    for index, text in enumerate([texts] if isinstance(texts, str) else texts):
        if isinstance(text, list | tuple):
            raise ValueError(f"Text {index} is a {type(text).__name__}, of two texts or of words. {WHOLE_TEXTS}")
        if not isinstance(text, str):
            raise ValueError(f"Text {index} is a {type(text).__name__}; expected a string.")
        beginning = text[:MAX_CHARACTERS]
        if any("\ud800" <= character <= "\udfff" for character in beginning):
            raise ValueError(f"Text {index} is not valid Unicode ({text[:20]!a}); leave its row out.")
        if is_blank(beginning):
            raise ValueError(f"Text {index} is blank ({text[:20]!a}); leave its row out.")
    return texts[:MAX_CHARACTERS] if isinstance(texts, str) else [text[:MAX_CHARACTERS] for text in texts]


def reset_tokenizer(tokenizer: PreTrainedTokenizerBase) -> None:
    """Make a tokenizer forget padding and truncation of its last call, which would be saved with it."""
    backend = getattr(tokenizer, "backend_tokenizer", None)  # a slow one has none
    if backend is not None:
        backend.no_padding()
        backend.no_truncation()


def check_vocabulary_file(source: str | PathLike[str]) -> None:
    """Raise ValueError for a folder with the settings of a tokenizer and without its vocabulary."""
    folder = Path(source)
    if (folder / "tokenizer_config.json").is_file() and not any((folder / name).is_file() for name in VOCABULARY_FILES):
        raise ValueError(NO_VOCABULARY.format(source))


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, source: str | PathLike[str], vocab_size: int | None) -> None:
    """Raise ValueError for a tokenizer that transformers made up for want of its files, or that of another model.

    Args:
        tokenizer: as it was loaded.
        source: where it was loaded from.
        vocab_size: of the model; None: unknown.
    """
    number = len(tokenizer)
    if number <= len(set(tokenizer.all_special_ids)):
        raise ValueError(NO_VOCABULARY.format(source))
    if vocab_size is None:
        return
    largest = max(tokenizer.get_vocab().values())
    if largest >= vocab_size or number < vocab_size - max(128, SPARE_ROWS * vocab_size):
        raise ValueError(
            f"The tokenizer in {source} has {number} entries up to number {largest}, and the model {vocab_size}: it is "
            "another model's. Copy this model's tokenizer.json there."
        )


def saved_vocab_size(folder: str | PathLike[str]) -> int | None:
    """Return the vocabulary size in the `config.json` of a BriVL's or an MLMM's folder; None where it says none."""
    path = Path(folder) / "config.json"
    try:
        config = json.loads(path.read_bytes()) if path.is_file() else {}
        encoder = config["text_config"]["encoder_config"] if "text_config" in config else config
        return int(encoder["vocab_size"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


__all__ = [
    "check_tokenizer",
    "check_vocabulary_file",
    "is_blank",
    "read_texts",
    "reset_tokenizer",
    "saved_vocab_size",
]
