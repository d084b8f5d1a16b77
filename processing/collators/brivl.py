"""Rows of images and texts to one batch for contrastive training."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch.nn.utils.rnn import pad_sequence

from ...data.pairs.dataset import NO_GROUP, as_list
from ...data.rows.types import PairExample
from ..augmentation.image import Augmentation, draw_seed_of
from ..processing_brivl import BriVLProcessor
from .image_batch import ImageCollator

MAPS = {"feature_map", "image_states"}


@dataclass
class ContrastiveCollator(ImageCollator):
    """Collate rows into the keyword arguments of a BriVL model.

    A row holds `text` (one or, in all rows equally many, several) and either `image` (PIL image, path or bytes) or
    `feature_map` or `image_states` (a (C, H, W) tensor: what a frozen backbone, or its frozen stages, made of the
    image). Beside `text` it may hold
    `text_states` (an (L, E) tensor a text: what the frozen layers of a text encoder made of it) and `text_group_ids`
    (the groups, of `group_id`, that each text is true of). It may hold `boxes` ((n, 4), pixels of the upright
    original), `group_id` (int, equal for rows that must not be each other's negatives) and, needed with
    `augmentation`, `draw_seed` (int, made from seed, epoch and index). What the first row holds, all rows must hold.

    An image that cannot be decoded, or a text that cannot be read, is left out with its row, counted in `bad_rows` and
    logged once a cause. The batch is then shorter.

    Args:
        augmentation: changes each image before the processor sees it; without moving it if rows have boxes.
        token_dropout: fraction of a text's tokens that are hidden; needs `draw_seed`. The first token stays.
    """

    processor: BriVLProcessor
    augmentation: Augmentation | None = None
    token_dropout: float = 0.0

    def __call__(self, rows: Sequence[PairExample]) -> dict[str, torch.Tensor]:
        """Return the batch of the B rows whose image can be decoded and whose text can be read.

        Returns:
            pixel_values (B, 3, S, S) float32, or feature_map or image_states (B, C, H, W) float32.
            input_ids, attention_mask: (N, L) int64, 1 = real token; of N = B texts, or more where rows have several.
            text_states: (N, L, E) float32 instead of input_ids, if the rows have them.
            text_group_ids: (N, G) int64, filled up with -1, if the rows have them.
            boxes, box_mask: (B, R, 4) float32 and (B, R) int64, 1 = real region, if the rows have boxes.
            group_ids: (B,) int64, if the rows have a `group_id`.

        Raises:
            EmptyBatchError: no row can be used.
            ValueError: boxes do not fit their image, rows with
                boxes or feature maps are to be augmented in a way that cannot be, or a `draw_seed` is missing.
        """
        given, rows = rows, [row for row in rows if all(map(self.has_text, as_list(row["text"])))]
        if rows and (maps := MAPS & rows[0].keys()):
            self.check_batch(given, rows)
            batch = self._collate_maps(rows, *maps)
        else:
            decoded = [(row, image) for row in rows if (image := self._augmented(row)) is not None]
            self.check_batch(given, decoded)
            rows, images = zip(*decoded, strict=True)
            boxes = [row["boxes"] for row in rows] if "boxes" in rows[0] else None
            batch = self.processor.image_processor(list(images), boxes=boxes, return_tensors="pt")
        batch = {**batch, **self._collate_texts(rows)}
        if self.token_dropout:
            self._hide_tokens(batch["attention_mask"], rows)
        if "group_id" in rows[0]:
            batch["group_ids"] = torch.tensor([row["group_id"] for row in rows], dtype=torch.int64)
        return batch

    def _collate_texts(self, rows: Sequence[PairExample]) -> dict[str, torch.Tensor]:
        batch: dict[str, torch.Tensor] = {}
        if "text_group_ids" in rows[0]:
            groups = [torch.tensor(ids) for row in rows for ids in row["text_group_ids"]]
            batch["text_group_ids"] = pad_sequence(groups, batch_first=True, padding_value=NO_GROUP)
        if "text_states" in rows[0]:
            states = [one for row in rows for one in row["text_states"]]
            mask = [torch.ones(len(one), dtype=torch.int64) for one in states]
            batch["text_states"] = pad_sequence(states, batch_first=True).float()
            batch["attention_mask"] = pad_sequence(mask, batch_first=True)
            return batch
        texts = [text for row in rows for text in as_list(row["text"])]
        return {**batch, **self.processor(text=texts, return_tensors="pt")}

    def _hide_tokens(self, attention_mask: torch.Tensor, rows: Sequence[PairExample]) -> None:
        generator = torch.Generator().manual_seed(draw_seed_of(rows[0]))
        hidden = torch.rand(attention_mask.shape, generator=generator) < self.token_dropout
        attention_mask[:, 1:][hidden[:, 1:]] = 0

    def _collate_maps(self, rows: Sequence[PairExample], column: str) -> dict[str, torch.Tensor]:
        if self.augmentation is not None:
            raise ValueError("Feature maps cannot be augmented: pass augmentation=None, or rows with an `image`.")
        return {column: torch.stack([torch.as_tensor(dict(row)[column], dtype=torch.float32) for row in rows])}

    def _augmented(self, row: PairExample) -> Image.Image | None:
        image = self.decode(row["image"], as_original=self.processor.image_processor.as_original)
        if image is None or self.augmentation is None:
            return image
        if "boxes" in row and self.augmentation.is_geometric:
            raise ValueError("Rows have boxes, which a moved image invalidates: use an Augmentation of colours only.")
        return self.augmentation(image, seed=draw_seed_of(row))


__all__ = ["ContrastiveCollator"]
