"""Images with boxes for training, drawn from a dataset so that a resumed run sees what an unbroken one sees."""

import random
from typing import TYPE_CHECKING

from torch.utils.data import Dataset as TorchDataset

from ..pairs.dataset import stored_image
from ..rows.types import DetectionExample

if TYPE_CHECKING:
    from datasets import Dataset


class DetectionRows(TorchDataset):
    """A map-style dataset of `DetectionExample`.

    `image` is undecoded, so that a damaged image costs one row and not the run. `draw_seed` derives from (seed, epoch,
    index) alone.

    Args:
        dataset: that of a `DetectionData`.
        seed: of all draws.
    """

    def __init__(self, dataset: "Dataset", *, seed: int = 0) -> None:
        import datasets
        import torch

        self.dataset = dataset.select_columns(["image", "image_id", "objects"])
        self.dataset = self.dataset.cast_column("image", datasets.Image(decode=False))
        self.seed = seed
        # In shared memory: workers that outlive an epoch hold a copy of this object and must see the new number.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> DetectionExample:
        """Return the row at a position from 0 to len - 1, with the seed of the current epoch."""
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        row = self.dataset[int(index)]
        return {
            "image": stored_image(row["image"]),
            "image_id": row["image_id"],
            "objects": row["objects"],
            "draw_seed": random.Random(f"{self.seed}-{self._epoch.item()}-{index}").getrandbits(63),
        }

    def set_epoch(self, epoch: int) -> None:
        """Change what is drawn; `SetEpochCallback` calls it before each epoch."""
        self._epoch.fill_(epoch)


__all__ = ["DetectionRows"]
