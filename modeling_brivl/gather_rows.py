"""The rows of all processes, for keys that every process must hold alike."""

import torch
import torch.distributed as dist
from torch import Tensor


def gather_rows(rows: Tensor) -> tuple[Tensor, int]:
    """Returns the rows of all processes in rank order, and where those of this process begin. No gradient flows.

    Processes may hold different numbers of rows (n, ...). Without `torch.distributed` the rows come back as they are.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return rows, 0
    counts = rows.new_empty(dist.get_world_size(), dtype=torch.int64)
    dist.all_gather_into_tensor(counts, counts.new_tensor([len(rows)]))
    counts = counts.tolist()
    # Collectives need equal shapes.
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[: len(rows)] = rows.detach()
    gathered = rows.new_empty(len(counts) * len(padded), *rows.shape[1:])
    dist.all_gather_into_tensor(gathered, padded)
    parts = [part[:count] for part, count in zip(gathered.split(len(padded)), counts, strict=True)]
    return torch.cat(parts), sum(counts[: dist.get_rank()])


__all__ = ["gather_rows"]
