"""Decisions and sums that all ranks share."""

import torch
from accelerate import PartialState
from accelerate.utils import reduce


def any_across_ranks(flag: bool | torch.Tensor) -> bool:
    """Return True if the flag is set on any rank. All ranks must call it at the same point; alone it costs nothing."""
    state = PartialState()
    if state.num_processes == 1:
        return bool(flag)
    return bool(reduce(torch.as_tensor(flag, device=state.device).float(), reduction="sum") > 0)


def sum_across_ranks(numbers: torch.Tensor) -> torch.Tensor:
    """Return the sum over all ranks, in CPU memory; all of them must call it at the same point."""
    state = PartialState()
    if state.num_processes == 1:
        return numbers
    return reduce(numbers.to(state.device), reduction="sum").cpu()


__all__ = ["any_across_ranks", "sum_across_ranks"]
