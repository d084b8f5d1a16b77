"""The rows of all processes, for keys that every process must hold alike."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from .momentum_queue import NO_GROUP


def gather_rows(rows: Tensor) -> tuple[Tensor, int]:
    """Return the rows of all processes in rank order, and where those of this process begin. No gradient flows.

    Processes may hold different numbers of rows (n, ...). Without `torch.distributed` the rows come back as they are.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return rows, 0
    counts = [int(count) for count in _all_gather(torch.tensor([len(rows)], device=rows.device))]
    padded = rows.new_zeros(max(counts), *rows.shape[1:])  # collectives need equal shapes
    padded[: len(rows)] = rows.detach()
    parts = [part[:count] for part, count in zip(_all_gather(padded), counts, strict=True)]
    return torch.cat(parts), sum(counts[: dist.get_rank()])


def gather_text_groups(text_groups: Tensor) -> Tensor:
    """Return the groups (n, g) of the texts of all processes, which may have unequal g."""
    width = int(gather_rows(text_groups.new_tensor([text_groups.shape[1]]))[0].max())
    return gather_rows(F.pad(text_groups, (0, width - text_groups.shape[1]), value=NO_GROUP))[0]


def _all_gather(tensor: Tensor) -> list[Tensor]:
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, tensor)
    return parts


__all__ = ["gather_rows", "gather_text_groups"]
