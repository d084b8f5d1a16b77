"""Batches of examples of like length, counted in tokens. Source: UNITER and UC2."""

from collections.abc import Sequence

import numpy as np


def fill_batches(lengths: np.ndarray, *, token_budget: int, multiple: int = 8) -> list[np.ndarray]:
    """Returns the indices of a bucket of examples as batches, longest first.

    As in the references the longest example decides for its whole bucket how many make a batch: as many as fit into the
    budget with padding, rounded down to a multiple. The last batch may be smaller.

    Args:
        lengths: (m,) tokens of each example, words and regions.
        token_budget: most tokens of a batch, padding included.
        multiple: of which the number of examples is one.

    Raises:
        ValueError: `multiple` examples of the greatest length do not fit into the budget.
    """
    lengths = np.asarray(lengths)
    if len(lengths) == 0:
        return []
    longest = int(lengths.max())
    size = token_budget // longest // multiple * multiple
    if size == 0:
        raise ValueError(
            f"A budget of {token_budget} tokens holds no {multiple} examples of {longest} tokens; "
            f"give {longest * multiple} or more."
        )
    order = np.argsort(-lengths, kind="stable")
    return [order[start : start + size] for start in range(0, len(order), size)]


def padded_share(lengths: np.ndarray, batches: Sequence[np.ndarray]) -> float:
    """Returns the share of a batch's tokens that is padding, over all batches."""
    lengths = np.asarray(lengths)
    real = sum(int(lengths[batch].sum()) for batch in batches)
    return 1 - real / sum(len(batch) * int(lengths[batch].max()) for batch in batches)


__all__ = ["fill_batches", "padded_share"]
