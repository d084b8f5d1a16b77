"""Checks of the texts that a processor gets, and of the tokenizer that it has."""

import json
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from transformers import PreTrainedTokenizerBase

VOCABULARY_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model")
NO_VOCABULARY = (
    "{} has no vocabulary: its tokenizer.json (or vocab.txt) is missing or empty. Copy the tokenizer's files of this "
    "model there."
)
SPARE_ROWS = 0.1  # of a model's embeddings, which its tokenizer may leave unused


def is_blank(text: str) -> bool:
    """Return True where nothing can be seen: white space, zero-width and control characters."""
    return not any(character.isprintable() and not character.isspace() for character in text)


def check_texts(texts: str | Sequence[str]) -> None:
    """Raise ValueError if a text is blank or not a string."""
    for index, text in enumerate([texts] if isinstance(texts, str) else texts):
        if not isinstance(text, str):
            raise ValueError(f"Text {index} is a {type(text).__name__}; expected a string.")
        if is_blank(text):
            raise ValueError(f"Text {index} is blank ({text!r}); leave its row out.")


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
    if vocab_size is not None and not vocab_size - max(128, SPARE_ROWS * vocab_size) <= number <= vocab_size:
        raise ValueError(
            f"The tokenizer in {source} has {number} entries and the model {vocab_size}: it is another model's. Copy "
            "this model's tokenizer.json there."
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


__all__ = ["check_texts", "check_tokenizer", "check_vocabulary_file", "is_blank", "saved_vocab_size"]
