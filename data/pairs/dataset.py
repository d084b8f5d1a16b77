"""Pairs for contrastive training, drawn from a dataset so that a resumed run sees exactly what an unbroken one sees."""

import random
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from PIL import Image
from torch.utils.data import Dataset as TorchDataset

from ..rows.epoch import EpochDraws
from ..rows.report import BadRowReport
from ..rows.types import DrawnText, PairExample, StoredImage
from .caption_groups import caption_group

if TYPE_CHECKING:
    from datasets import Dataset

NO_GROUP = -1  # as in `modeling_brivl/momentum_queue.py`


@dataclass(eq=False)
class TrainingPairs(EpochDraws, TorchDataset):
    """A map-style dataset of `{"image", "text", "group_id", "draw_seed"}` (and `boxes`, where the rows have them).

    - `image`: what the dataset stores, undecoded: bytes or a path (a PIL image if it stores no `datasets.Image`). The
      collator decodes it, so that a damaged image costs one row and not the run.
    - `text`: one string, or several where `draw_text` gives several; then also `text_group_ids`, a list for each.
    - `group_id`: int, equal for rows that must not be each other's negatives; -1 = unknown, never masked.
    - `draw_seed`: 63-bit int for whatever else is drawn for the row, such as its augmentation.

    Attributes:
        dataset: rows with `image` and the columns named below.
        draw_text: makes the text, or texts with their groups, from the row (which holds all columns but `image`) and a
            generator; by default `text_column` is taken.
        text_column: a string, or a list of strings of which one is drawn.
        group_column: an integer column, or None where groups are unknown.
        group_by_caption: rows for which the same caption is drawn are a group, whatever their images.
        seed: of all draws.
        bad_rows: what was left out when the dataset was read.
        held_out: rows that are kept for an evaluation.

    Raises:
        ValueError: a column is missing, or groups are to be made in two ways.
    """

    dataset: "Dataset"
    _: KW_ONLY
    draw_text: Callable[[dict, random.Random], str | list[DrawnText]] | None = None
    text_column: str = "text"
    group_column: str | None = None
    group_by_caption: bool = False
    bad_rows: BadRowReport | None = None
    held_out: "Dataset | None" = None

    def __post_init__(self) -> None:
        import datasets

        needed = ["image", None if self.draw_text else self.text_column, self.group_column]
        if missing := [column for column in needed if column and column not in self.dataset.column_names]:
            raise ValueError(f"The dataset lacks the columns {missing}; it has {self.dataset.column_names}.")
        if self.group_column and self.group_by_caption:
            raise ValueError(f"Rows are grouped by {self.group_column!r}; leave group_by_caption out, or group_column.")
        if isinstance(self.dataset.features["image"], datasets.Image):
            self.dataset = self.dataset.cast_column("image", datasets.Image(decode=False))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> PairExample:
        """Return the pair at a position from 0 to len - 1, as drawn in the current epoch."""
        if not 0 <= index < len(self):
            raise IndexError(f"pair {index} of {len(self)}")
        rng = self.make_generator(index)
        draw_seed = rng.getrandbits(63)
        row = self.dataset[int(index)]
        image = stored_image(row.pop("image"))
        drawn = self.draw_text(row, rng) if self.draw_text else one_of(row[self.text_column], rng)
        text = drawn if isinstance(drawn, str) else [one.text for one in drawn]
        group_id = self._group(row, as_list(text)[0])
        example = PairExample(image=image, text=text, group_id=group_id, draw_seed=draw_seed)
        if not isinstance(drawn, str):
            example["text_group_ids"] = [one.group_ids for one in drawn]
        if "boxes" in row:
            example["boxes"] = row["boxes"] or []
        return example

    def _group(self, row: dict, text: str) -> int:
        if self.group_by_caption:
            return caption_group(text)
        return row[self.group_column] if self.group_column else NO_GROUP


def stored_image(image: StoredImage | str | Image.Image) -> bytes | str | Image.Image:
    """Return the bytes of an undecoded `datasets.Image`, or its path; anything else as it is.

    Of an image that is null the bytes are empty, so that the collator counts it.
    """
    if isinstance(image, dict):
        return image["bytes"] if image["bytes"] is not None else image["path"] or b""
    return image


def as_list(text: str | list[str]) -> list[str]:
    """Return the texts of a pair; what is no text stays one, for the collator to count."""
    return text if isinstance(text, list) else [text]


def one_of(text: str | list[str], rng: random.Random) -> str:
    """Return a text, or one that is drawn from a list."""
    return text if isinstance(text, str) else rng.choice(text)


__all__ = ["NO_GROUP", "TrainingPairs", "as_list", "one_of", "stored_image"]
