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


def neighbors_of_ranks(rows: np.ndarray, words: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Return (p,) the neighbour of each word that has a rank, from 1, among all other words.

    Args:
        rows: (n, d) unit rows.
        words, ranks: (p,) indices of rows, and integers.
    """
    found = []
    for word, rank in zip(words, ranks, strict=True):
        scores = rows[word] @ rows.T
        scores[word] = -np.inf
        found.append(np.argpartition(-scores, rank - 1)[rank - 1])
    return np.array(found, int)


def pair_ranks(rows: np.ndarray, words: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return (p,) the geometric mean of the ranks of the two targets of each pair of words; all are (p, 2) indices."""
    ranks = [target_ranks(rows, words[:, side], targets[:, side]) for side in (0, 1)]
    return np.sqrt(ranks[0] * ranks[1])


def others_as_near(rows: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return (p, 2) a control: for each word of a pair the neighbour next after the other word of the pair.

    Whatever is near in one space is further in most others. Antonyms move apart if they do so more than these.
    """
    found = []
    for side in (0, 1):
        ranks = target_ranks(rows, pairs[:, side], pairs[:, 1 - side])
        ranks = np.where(ranks < len(rows) - 1, ranks + 1, ranks - 1)
        found.append(neighbors_of_ranks(rows, pairs[:, side], ranks))
    return np.stack(found, axis=1)


def compare_ranks(
    before: np.ndarray, after: np.ndarray, control: np.ndarray | None = None, *, seed: int = 0
) -> dict[str, object]:
    """Return the medians of two spaces' ranks of the same pairs, and `paired_test` of how often they double.

    Args:
        before, after: (p,) ranks; positive differences say that the pairs are further apart after.
        control: (p,) ranks, after, of what was as near before; antonyms are tested against it, too.
        seed: of the tests.
    """
    found: dict[str, object] = {"before": float(np.median(before)), "after": float(np.median(after))}
    found["log2_ratio"] = paired_test(np.log2(after) - np.log2(before), seed=seed)
    if control is not None:
        found["others_as_near"] = float(np.median(control))
        found["log2_ratio_to_others"] = paired_test(np.log2(after) - np.log2(control), seed=seed)
    return found


def median_ranks(ranks: Mapping[str, np.ndarray], words: int) -> dict[str, dict[str, float | int]]:
    """Return by space the `median` rank, `n` pairs, and `chance`, which is half of the words."""
    return {name: {"median": float(np.median(one)), "n": len(one), "chance": words / 2} for name, one in ranks.items()}


__all__ = [
    "FILE",
    "compare_ranks",
    "median_ranks",
    "neighbors_of_ranks",
    "others_as_near",
    "pair_ranks",
    "read_antonyms",
    "target_ranks",
]
