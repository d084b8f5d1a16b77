"""Masking of MLMM's tasks: words for MLM, regions for MRFR and MRC; ITM hides nothing.

One kind at a time: hidden words are told by all regions, hidden regions by all words. Source: UNITER, UC2.
"""

import numpy as np

NO_LABEL = -100
MASKED_FRACTION = 0.15
MASK_TOKEN_FRACTION = 0.8  # of the chosen words
RANDOM_TOKEN_FRACTION = 0.1


def mask_words(
    input_ids: np.ndarray,
    is_word: np.ndarray,
    rng: np.random.Generator,
    *,
    mask_token_id: int,
    ordinary_ids: np.ndarray,
    fraction: float = MASKED_FRACTION,
) -> tuple[np.ndarray, np.ndarray]:
    """Return (l,) ids with some words hidden, and (l,) labels: what stood there, -100 elsewhere.

    Of the chosen word pieces 80 % become the mask, 10 % another piece, 10 % stay. Where chance chooses none, the first
    one is masked.

    Args:
        input_ids: (l,) ids.
        is_word: (l,) bool, False for special tokens.
        ordinary_ids: ids that a random piece may have.
        fraction: of the words that are chosen.

    Raises:
        ValueError: the text has no word.
    """
    words = np.flatnonzero(is_word)
    if len(words) == 0:
        raise ValueError("A text without word pieces cannot be masked.")
    labels = np.full_like(input_ids, NO_LABEL)
    masked = input_ids.copy()
    draw = rng.random(len(words))
    kind = rng.random(len(words))
    random_ids = ordinary_ids[rng.integers(len(ordinary_ids), size=len(words))]
    chosen = draw < fraction
    hidden = chosen & (kind < MASK_TOKEN_FRACTION)
    replaced = chosen & (kind >= 1 - RANDOM_TOKEN_FRACTION)
    if not chosen.any():
        chosen[0] = hidden[0] = True
    labels[words[chosen]] = input_ids[words[chosen]]
    masked[words[hidden]] = mask_token_id
    masked[words[replaced]] = random_ids[replaced]
    return masked, labels


def mask_regions(count: int, rng: np.random.Generator, *, fraction: float = MASKED_FRACTION) -> np.ndarray:
    """Return (count,) bool, True = hide this region; at least one.

    Raises:
        ValueError: there is no region.
    """
    if count < 1:
        raise ValueError("An image without regions has none to mask.")
    masked = rng.random(count) < fraction
    if not masked.any():
        masked[rng.integers(count)] = True
    return masked


__all__ = ["MASKED_FRACTION", "NO_LABEL", "mask_regions", "mask_words"]
