"""Counts of the tokens that a tokenizer does not know: a model is blind to them, and nothing else says so."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

# Fractions above which a warning is due.
UNKNOWN_TOKENS = 0.05
TEXTS_WITH_UNKNOWN = 0.2
CUT = 0.05
SAMPLE = 1000  # texts
CHARACTERS = 10_000  # of a text that are looked at
SHOWN = 5


@dataclass
class VocabularyCounts:
    """Counts over texts, one batch after the other.

    Attributes:
        tokenizer: any; one that is not fast cannot tell which characters it does not know.
        max_tokens: where texts are cut, with special tokens; None: where the tokenizer says.
        lengths: number of texts by their tokens, with special tokens.
        unknown_tokens, texts_with_unknown: how many.
        characters: unknown ones with their numbers; a whole word where it alone is known by none of the vocabulary.
    """

    tokenizer: "PreTrainedTokenizerBase"
    max_tokens: int | None = None
    lengths: Counter[int] = field(default_factory=Counter)
    unknown_tokens: int = 0
    texts_with_unknown: int = 0
    characters: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        limit = self.tokenizer.model_max_length
        self.max_tokens = limit if self.max_tokens is None else min(self.max_tokens, limit)
        self._known: dict[str, bool] = {}

    def add(self, texts: Sequence[str]) -> None:
        """Count some texts."""
        texts, fast = [text[:CHARACTERS] for text in texts], self.tokenizer.is_fast
        if not texts:
            return
        encoded = self.tokenizer(texts, return_offsets_mapping=fast, verbose=False)
        unknown = self.tokenizer.unk_token_id
        for index, ids in enumerate(encoded["input_ids"]):
            self.lengths[len(ids)] += 1
            places = [] if unknown is None else [place for place, token in enumerate(ids) if token == unknown]
            self.unknown_tokens += len(places)
            self.texts_with_unknown += bool(places)
            for start, end in (encoded["offset_mapping"][index][place] for place in (places if fast else ())):
                self._count_characters(texts[index][start:end])

    @property
    def texts(self) -> int:
        """Number of texts."""
        return self.lengths.total()

    @property
    def unknown_fraction(self) -> float:
        """Fraction of the tokens, without special ones."""
        specials = self.tokenizer.num_special_tokens_to_add() * self.texts
        return self.unknown_tokens / max(1, sum(length * n for length, n in self.lengths.items()) - specials)

    @property
    def unknown_text_fraction(self) -> float:
        """Fraction of the texts that hold an unknown token."""
        return self.texts_with_unknown / max(1, self.texts)

    @property
    def cut_fraction(self) -> float:
        """Fraction of the texts that are longer than `max_tokens`."""
        assert self.max_tokens is not None
        return sum(n for length, n in self.lengths.items() if length > self.max_tokens) / max(1, self.texts)

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        names = ("texts", "unknown_fraction", "unknown_text_fraction", "cut_fraction", "max_tokens")
        return {name: getattr(self, name) for name in names} | {"unknown": dict(self.characters.most_common(SHOWN))}

    def warnings(self, what: str = "texts") -> list[str]:
        """Return a sentence on what is wrong and one on what to do for each thing; nothing for texts that fit."""
        found = []
        if self.unknown_fraction > UNKNOWN_TOKENS or self.unknown_text_fraction > TEXTS_WITH_UNKNOWN:
            shown = " ".join(character[:10] for character, _ in self.characters.most_common(SHOWN))
            found.append(
                f"{self.unknown_fraction:.0%} of the tokens are [UNK], in {self.unknown_text_fraction:.0%} of the "
                f"{self.texts:,} {what}{f' (most often {shown})' if shown else ''}: the model does not see what they "
                "say. Take a model of their language, or train one on them without init_from and text_weights, which "
                "builds a vocabulary of them."
            )
        if self.cut_fraction > CUT:
            found.append(
                f"{self.cut_fraction:.0%} of the {what} are longer than {self.max_tokens} tokens, and what comes later "
                "is never read. Shorten them, or raise max_text_length of the text configuration."
            )
        return found

    def _count_characters(self, word: str) -> None:
        self.characters.update([c for c in word if not self._knows(c)] or [word])

    def _knows(self, character: str) -> bool:
        if character not in self._known:
            self._known[character] = self.tokenizer.unk_token not in self.tokenizer.tokenize(character)
        return self._known[character]


def check_vocabulary(
    tokenizer: "PreTrainedTokenizerBase", texts: Iterable[str], *, max_tokens: int | None = None, what: str = "texts"
) -> VocabularyCounts:
    """Return the counts of a sample of the texts, and log a warning if the tokenizer does not fit them.

    Args:
        tokenizer: of the model that is to read them.
        texts: of a sequence evenly spaced ones are looked at, else the first.
        max_tokens: where they are cut, with special tokens.
        what: they are, for the message.
    """
    if isinstance(texts, Sequence):
        texts = texts[:: max(1, len(texts) // SAMPLE)]
    counts = VocabularyCounts(tokenizer, max_tokens)
    counts.add(list(islice(texts, SAMPLE)))
    for warning in counts.warnings(what):
        logger.warning("%s", warning)
    return counts


__all__ = ["SAMPLE", "VocabularyCounts", "check_vocabulary"]
