"""The masked mean that turns the states of regions or tokens into one vector."""

from torch import Tensor


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of `states` over the positions where `mask` is 1: (b, d).

    Args:
        states: (b, n, d).
        mask: (b, n), 1 = real token or region; at least one per row.
    """
    weights = mask.to(states.dtype).unsqueeze(-1)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


__all__ = ["masked_mean"]
