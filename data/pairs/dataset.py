"""Pairs for contrastive training, drawn from a dataset so that a resumed run sees exactly what an unbroken one sees."""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from PIL import Image
from torch.utils.data import Dataset as TorchDataset

from ..rows.report import BadRowReport
from ..rows.types import PairExample, StoredImage
from .caption_groups import caption_group

if TYPE_CHECKING:
    from datasets import Dataset

NO_GROUP = -1  # as in `modeling_brivl/momentum_queue.py`


class TrainingPairs(TorchDataset):
    """A map-style dataset of `{"image", "text", "group_id", "draw_seed"}` (and `boxes`, where the rows have them).

    Whatever is random derives from (seed, epoch, index) alone, never from a global generator.

    - `image`: what the dataset stores, undecoded: bytes or a path (a PIL image if it stores no `datasets.Image`). The
      collator decodes it, so that a damaged image costs one row and not the run.
    - `text`: one string.
    - `group_id`: int, equal for rows that must not be each other's negatives; -1 = unknown, never masked.
    - `draw_seed`: 63-bit int for whatever else is drawn for the row, such as its augmentation.

    Args:
        dataset: rows with `image` and the columns named below.
        draw_text: makes the text from the row (which holds all columns but `image`) and a generator; by default
            `text_column` is taken.
        text_column: a string, or a list of strings of which one is drawn.
        group_column: an integer column, or None where groups are unknown.
        group_by_caption: rows for which the same caption is drawn are a group, whatever their images.
        seed: of all draws.
        bad_rows: what was left out when the dataset was read, kept as an attribute.

    Raises:
        ValueError: a column is missing, or groups are to be made in two ways.
    """

    def __init__(
        self,
        dataset: "Dataset",
        *,
        draw_text: Callable[[dict, random.Random], str] | None = None,
        text_column: str = "text",
        group_column: str | None = None,
        group_by_caption: bool = False,
        seed: int = 0,
        bad_rows: BadRowReport | None = None,
    ) -> None:
        import datasets
        import torch

        needed = ["image", *([] if draw_text else [text_column]), *([group_column] if group_column else [])]
        missing = [column for column in needed if column not in dataset.column_names]
        if missing:
            raise ValueError(f"The dataset lacks the columns {missing}; it has {dataset.column_names}.")
        if group_column and group_by_caption:
            raise ValueError(f"Rows are grouped by {group_column!r}; leave group_by_caption out, or group_column.")
        if isinstance(dataset.features["image"], datasets.Image):
            dataset = dataset.cast_column("image", datasets.Image(decode=False))
        self.dataset = dataset
        self.draw_text = draw_text
        self.text_column = text_column
        self.group_column = group_column
        self.group_by_caption = group_by_caption
        self.seed = seed
        self.bad_rows = bad_rows
        # In shared memory: workers that outlive an epoch hold a copy of this object and must see the new number.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> PairExample:
        """Return the pair at a position from 0 to len - 1, as drawn in the current epoch."""
        if not 0 <= index < len(self):
            raise IndexError(f"pair {index} of {len(self)}")
        rng = random.Random(f"{self.seed}-{self._epoch.item()}-{index}")
        draw_seed = rng.getrandbits(63)
        row = self.dataset[int(index)]
        image = stored_image(row.pop("image"))
        text = self.draw_text(row, rng) if self.draw_text else one_of(row[self.text_column], rng)
        example = PairExample(image=image, text=text, group_id=self._group(row, text), draw_seed=draw_seed)
        if "boxes" in row:
            example["boxes"] = row["boxes"] or []
        return example

    def _group(self, row: dict, text: str) -> int:
        if self.group_by_caption:
            return caption_group(text)
        return row[self.group_column] if self.group_column else NO_GROUP

    def set_epoch(self, epoch: int) -> None:
        """Change what is drawn; the Trainer calls it before each epoch."""
        self._epoch.fill_(epoch)


def stored_image(image: StoredImage | str | Image.Image) -> bytes | str | Image.Image:
    """Return the bytes of an undecoded `datasets.Image`, or its path; anything else as it is.

    Of an image that is null the bytes are empty, so that the collator counts it.
    """
    if isinstance(image, dict):
        return image["bytes"] if image["bytes"] is not None else image["path"] or b""
    return image


def one_of(text: str | list[str], rng: random.Random) -> str:
    """Return a text, or one that is drawn from a list."""
    return text if isinstance(text, str) else rng.choice(text)


__all__ = ["NO_GROUP", "TrainingPairs", "one_of", "stored_image"]
