"""The state of momentum contrast: the queue of negative keys, the moving average, and the keys of all processes.

Words: a *query* comes from the trained towers, a *key* from the momentum towers; the *queue* holds the keys of past
steps, image and text in lockstep, so that one index is one pair.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import initialization as init

NO_GROUP = -1


class NegativeQueue(nn.Module):
    """A ring of `size` key pairs. All buffers are persistent, so a checkpoint continues with the same negatives.

    Buffers: `image_keys`, `text_keys` (k, d) unit rows; `group_ids` (k,) int64, -1 = unknown; `position` () int64.
    Starts with random unit rows from a fixed seed, as the original does (there unseeded).
    """

    image_keys: Tensor
    text_keys: Tensor
    group_ids: Tensor
    position: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        # The dtype is said, so that loading a model in half precision leaves the queue in float32.
        self.register_buffer("image_keys", torch.empty(size, dim, dtype=torch.float32))
        self.register_buffer("text_keys", torch.empty(size, dim, dtype=torch.float32))
        self.register_buffer("group_ids", torch.empty(size, dtype=torch.int64))
        self.register_buffer("position", torch.empty((), dtype=torch.int64))
        self.reset()

    def reset(self) -> None:
        """Fill the queue with random unit rows of no group; the same ones in every process."""
        generator = torch.Generator().manual_seed(0)
        for keys in (self.image_keys, self.text_keys):
            init.copy_(keys, F.normalize(torch.randn(keys.shape, generator=generator, device="cpu"), dim=1))
        init.constant_(self.group_ids, NO_GROUP)
        init.zeros_(self.position)

    @torch.no_grad()
    def enqueue(self, image_keys: Tensor, text_keys: Tensor, group_ids: Tensor | None = None) -> None:
        """Overwrite the oldest entries with a batch of keys of any size; of a batch above `size` the newest remain.

        Pairs with a non-finite key are left out.

        Args:
            image_keys, text_keys: (b, d) unit rows.
            group_ids: (b,) int64; pairs of the same group are never each other's negatives. None: unknown.
        """
        if group_ids is None:
            group_ids = self.group_ids.new_full((len(image_keys),), NO_GROUP)
        finite = image_keys.isfinite().all(dim=1) & text_keys.isfinite().all(dim=1)
        size = len(self.image_keys)
        image_keys, text_keys, group_ids = (x[finite][-size:] for x in (image_keys, text_keys, group_ids))
        slots = (self.position + torch.arange(len(image_keys), device=self.position.device)) % size
        self.image_keys[slots] = image_keys.to(self.image_keys.dtype)
        self.text_keys[slots] = text_keys.to(self.text_keys.dtype)
        self.group_ids[slots] = group_ids
        self.position.copy_((self.position + len(image_keys)) % size)


@torch.no_grad()
def update_momentum(momentum_tower: nn.Module, query_tower: nn.Module, momentum: float) -> None:
    """Move the parameters of the momentum tower: `key = momentum * key + (1 - momentum) * query`, in one fused call.

    All parameters of the momentum tower take part, frozen ones too; a trunk that it shares has none there. Buffers
    (batch norm statistics) do not: as in the original they move by the momentum tower's own forward passes.
    """
    query_parameters = dict(query_tower.named_parameters())
    names, momentum_parameters = zip(*momentum_tower.named_parameters(), strict=True)
    torch._foreach_lerp_(momentum_parameters, [query_parameters[name] for name in names], 1 - momentum)


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


__all__ = ["NO_GROUP", "NegativeQueue", "gather_rows", "gather_text_groups", "update_momentum"]
