"""The vocabulary whose neighbours are compared: jieba's dictionary as far as wordfreq counts it, or a user's list."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ...data.files.bounded import read_bounded_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PAPER_WORDS = ("成功", "王子", "教育", "英俊小生")  # of figures 8-10; the last ranks 173,844
HAN = re.compile(r"[\u4e00-\u9fff]{2,5}")
DICTIONARY = "dict.txt"  # of jieba: word, count and tag in a line


@dataclass(frozen=True)
class Vocabulary:
    """Words, the most frequent first, none twice.

    Attributes:
        words: of a list or a dictionary, then those that were added.
        counts: how many there were, were left out, and were added; by reason.
    """

    words: list[str]
    counts: dict[str, int]

    def add(self, words: Iterable[str]) -> "Vocabulary":
        """Return a vocabulary that has these words, too."""
        known = set(self.words)
        new = [word for word in dict.fromkeys(words) if word not in known]
        return Vocabulary([*self.words, *new], self.counts | {"added": self.counts.get("added", 0) + len(new)})

    def keep_readable(self, tokenizers: Sequence["PreTrainedTokenizerBase"]) -> "Vocabulary":
        """Return the words that every tokenizer tells apart.

        Left out are words with a token that a tokenizer does not know, and words that a tokenizer makes the same tokens
        of as of a word before them: they would be its nearest neighbours.
        """
        words, counts = self.words, {"unknown tokens": 0, "tokens of another word": 0}
        for tokenizer in tokenizers:
            rows = tokenizer(words, add_special_tokens=False, verbose=False)["input_ids"] if words else []
            known = [not {tokenizer.unk_token_id}.intersection(row) and bool(row) for row in rows]
            seen: set[tuple[int, ...]] = set()
            kept = []
            for word, row, is_known in zip(words, map(tuple, rows), known, strict=True):
                if is_known and row not in seen:
                    kept.append(word)
                    seen.add(row)
            counts["unknown tokens"] += known.count(False)
            counts["tokens of another word"] += known.count(True) - len(kept)
            words = kept
        return Vocabulary(words, self.counts | counts)

    def indices(self, words: Iterable[str]) -> list[int]:
        """Return the places of words.

        Raises:
            ValueError: a word is not in the vocabulary.
        """
        place = {word: index for index, word in enumerate(self.words)}
        wanted = list(words)
        if absent := [word for word in wanted if word not in place]:
            raise ValueError(
                f"{', '.join(absent[:5])}: not in the vocabulary, or left out since a tokenizer does not know all of "
                "it or takes it for another word; give another word."
            )
        return [place[word] for word in wanted]


def build_vocabulary(size: int) -> Vocabulary:
    """Return the most frequent of the 201,709 Chinese words that jieba's dictionary and wordfreq's large list share.

    Words are of two to five Han characters, in the order of their frequency in wordfreq, then of their code points.
    jieba's own counts could not cut at the paper's 170,000: too many are equal. Words of the figures are added.

    Args:
        size: how many.

    Raises:
        ImportError: a package of `wenlan[words]` is missing.
    """
    if (found := find_spec("jieba")) is None or found.origin is None or find_spec("wordfreq") is None:
        raise ImportError(
            "The vocabulary is built of jieba and wordfreq: pip install 'wenlan[words]', or give a list of your own."
        )
    import wordfreq

    lines = (Path(found.origin).parent / DICTIONARY).read_text("utf-8").splitlines()
    han = [word for line in lines if HAN.fullmatch(word := line.partition(" ")[0])]
    frequencies = wordfreq.get_frequency_dict("zh", wordlist="large")
    both = sorted(frequencies.keys() & set(han), key=lambda word: (-frequencies[word], word))
    counts = {"jieba": len(lines), "Han, 2-5 characters": len(han), "wordfreq": len(frequencies), "in both": len(both)}
    return Vocabulary(both[:size], counts | {"most frequent": len(both[:size])}).add(PAPER_WORDS)


def read_vocabulary(path: Path) -> Vocabulary:
    """Return the words of a file, one a line, the most frequent first; blank lines and repeats are left out.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no text in UTF-8, or holds no word.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}; give a vocabulary with one word a line.")
    lines = [line.strip() for line in read_bounded_text(path).split("\n")]
    filled = list(filter(None, lines))
    if not filled:
        raise ValueError(f"{path} holds no word; give one a line.")
    words = list(dict.fromkeys(filled))
    return Vocabulary(words, {"listed": len(filled), "duplicates": len(filled) - len(words)})


def check_size(words: Collection[str], k: int) -> None:
    """Raise ValueError if so few words make lists of `k` neighbours alike by chance alone."""
    if len(words) < 10 * (k + 1):
        raise ValueError(
            f"{len(words)} words are too few for {k} neighbours: give at least {10 * (k + 1)}, or a smaller k."
        )


__all__ = ["PAPER_WORDS", "Vocabulary", "build_vocabulary", "check_size", "read_vocabulary"]
