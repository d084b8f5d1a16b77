"""Draws that change with the epoch, and nothing else: a resumed run sees what an unbroken one sees."""

import random
from dataclasses import dataclass, field

import torch


@dataclass(eq=False)
class EpochDraws:
    """Base of data sets in which whatever is random derives from (seed, epoch, index), never from a global generator.

    The number of the epoch is in shared memory: workers that outlive an epoch hold a copy of the data set and must see
    the new number.
    """

    seed: int = field(default=0, kw_only=True)
    _epoch: torch.Tensor = field(
        default_factory=lambda: torch.zeros((), dtype=torch.int64).share_memory_(), init=False, repr=False
    )

    def set_epoch(self, epoch: int) -> None:
        """Change what is drawn; the Trainer, or `SetEpochCallback`, calls it before each epoch."""
        self._epoch.fill_(epoch)

    def make_generator(self, index: int) -> random.Random:
        """Return the generator of a row in the current epoch (not called `generator`, which accelerate looks for)."""
        return random.Random(f"{self.seed}-{self._epoch.item()}-{index}")


__all__ = ["EpochDraws"]
