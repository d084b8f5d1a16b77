"""Images with boxes for training, drawn from a dataset so that a resumed run sees what an unbroken one sees."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.utils.data import Dataset as TorchDataset

from ..pairs.dataset import stored_image
from ..rows.epoch import EpochDraws
from ..rows.types import DetectionExample

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(eq=False)
class DetectionRows(EpochDraws, TorchDataset):
    """A map-style dataset of `DetectionExample`.

    `image` is undecoded, so that a damaged image costs one row and not the run.

    Attributes:
        dataset: that of a `DetectionData`.
        seed: of all draws.
    """

    dataset: "Dataset"

    def __post_init__(self) -> None:
        import datasets

        columns = self.dataset.select_columns(["image", "image_id", "objects"])
        self.dataset = columns.cast_column("image", datasets.Image(decode=False))

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
            "draw_seed": self.make_generator(index).getrandbits(63),
        }


__all__ = ["DetectionRows"]
