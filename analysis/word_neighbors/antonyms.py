"""Ranks of antonyms: words of opposite meaning that texts use alike, such as 成功 and 失败.

The paper says that images move them apart (section 3.1).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...data.files.bounded import read_bounded_text
from .statistics import paired_test

FILE = Path(__file__).with_name("antonyms.tsv")
CHUNK = 64  # words at a time


def read_antonyms(path: Path = FILE) -> list[tuple[str, str]]:
    """Return pairs of words, one pair a line, with a tab between them.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line is no pair.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}; give pairs of words, one a line, with a tab between them.")
    pairs = []
    for number, line in enumerate(read_bounded_text(path).split("\n"), 1):
        words = line.strip().split("\t")
        if line.strip() and (len(words) != 2 or not all(words) or words[0] == words[1]):
            raise ValueError(f"{path}, line {number}: {line.strip()[:40]!r}; give two words with a tab between them.")
        if line.strip():
            pairs.append((words[0], words[1]))
    return pairs


def target_ranks(
    rows: np.ndarray, words: Sequence[int] | np.ndarray, targets: Sequence[int] | np.ndarray
) -> np.ndarray:
    """Return (p,) the rank of each target among the neighbours of its word, from 1; its equals count against it.

    Args:
        rows: (n, d) unit rows.
        words, targets: (p,) indices of rows, different in each pair.
    """
    words, targets = np.asarray(words), np.asarray(targets)
    ranks = []
    for start in range(0, len(words), CHUNK):
        own, wanted = words[start : start + CHUNK], targets[start : start + CHUNK]
        scores = rows[own] @ rows.T
        scores[np.arange(len(own)), own] = -np.inf
        ranks.append((scores >= scores[np.arange(len(own)), wanted][:, None]).sum(axis=1))
    return np.concatenate(ranks) if ranks else np.empty(0, int)


def pair_ranks(rows: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return (p,) the geometric mean of both words' ranks in each other's neighbours; pairs are (p, 2) indices."""
    there, back = target_ranks(rows, pairs[:, 0], pairs[:, 1]), target_ranks(rows, pairs[:, 1], pairs[:, 0])
    return np.sqrt(there * back)


def compare_ranks(before: np.ndarray, after: np.ndarray, *, seed: int = 0) -> dict[str, object]:
    """Return the medians of two spaces' ranks of the same pairs, and `paired_test` of how often they double.

    Args:
        before, after: (p,) ranks; positive differences say that the pairs are further apart after.
        seed: of the test.
    """
    test = paired_test(np.log2(after) - np.log2(before), seed=seed)
    return {"before": float(np.median(before)), "after": float(np.median(after)), "log2_ratio": test}


def median_ranks(ranks: Mapping[str, np.ndarray], words: int) -> dict[str, dict[str, float | int]]:
    """Return by space the `median` rank, `n` pairs, and `chance`, which is half of the words."""
    return {name: {"median": float(np.median(one)), "n": len(one), "chance": words / 2} for name, one in ranks.items()}


__all__ = ["FILE", "compare_ranks", "median_ranks", "pair_ranks", "read_antonyms", "target_ranks"]
