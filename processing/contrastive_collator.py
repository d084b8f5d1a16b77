"""Rows of pictures and texts to one batch for contrastive training."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch.utils.data import get_worker_info

from .augmentation import Augmentation
from .image_decoding import CAUSES, ImageDecodingError, decode_image
from .processing_brivl import BriVLProcessor

logger = logging.getLogger(__name__)

MAX_WORKERS = 255  # of a DataLoader that count apart


@dataclass
class ContrastiveCollator:
    """Turns a list of rows into the keyword arguments of a BriVL model.

    A row holds `text` (str) and either `image` (PIL image, path or bytes) or `feature_map` (a (C, H, W) tensor: what a
    frozen backbone made of the picture). It may hold `boxes` ((n, 4), pixels of the upright original), `group_id` (int,
    equal for rows that must not be each other's negatives) and, needed with `augmentation`, `draw_seed` (int, made from
    seed, epoch and index). What the first row holds, all rows must hold.

    A picture that cannot be decoded is left out with its row, counted in `bad_images` and logged once a cause. The
    batch is then shorter.

    Args:
        processor: makes the tensors.
        augmentation: changes each picture before the processor sees it; without moving it if rows have boxes.
    """

    processor: BriVLProcessor
    augmentation: Augmentation | None = None
    # In shared memory, since each DataLoader worker has a copy of the collator; a row each, since += is not atomic.
    _counts: torch.Tensor = field(
        default_factory=lambda: torch.zeros(MAX_WORKERS + 1, len(CAUSES), dtype=torch.int64).share_memory_(),
        init=False,
        repr=False,
        compare=False,
    )
    _logged: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    @property
    def bad_images(self) -> Counter[str]:
        """Number of rows left out so far by cause (see `image_decoding.CAUSES`), over all DataLoader workers."""
        return Counter(dict(zip(CAUSES, self._counts.sum(dim=0).tolist(), strict=True))) + Counter()

    def __call__(self, rows: Sequence[Mapping[str, object]]) -> dict[str, torch.Tensor]:
        """Return the batch of the B rows whose picture can be decoded.

        Returns:
            pixel_values (B, 3, S, S) float32, or feature_map (B, C, H, W) float32.
            input_ids, attention_mask: (B, L) int64, 1 = real token.
            boxes, box_mask: (B, R, 4) float32 and (B, R) int64, 1 = real region, if the rows have boxes.
            group_ids: (B,) int64, if the rows have a `group_id`.

        Raises:
            ValueError: every picture of the batch is bad, a text is blank, boxes do not fit their picture, rows with
                boxes or feature maps are to be augmented in a way that cannot be, or a `draw_seed` is missing.
        """
        if "feature_map" in rows[0]:
            batch = self._collate_feature_maps(rows)
        else:
            decoded = [(row, image) for row in rows if (image := self._decode(row)) is not None]
            if not decoded:
                raise ValueError(
                    f"None of the {len(rows)} pictures of a batch can be decoded; so far: {dict(self.bad_images)}. "
                    "Check the image root."
                )
            rows, images = zip(*decoded, strict=True)
            boxes = [row["boxes"] for row in rows] if "boxes" in rows[0] else None
            batch = self.processor.image_processor(list(images), boxes=boxes, return_tensors="pt")
        texts = self.processor(text=[row["text"] for row in rows], return_tensors="pt")
        batch = {**batch, **texts}
        if "group_id" in rows[0]:
            batch["group_ids"] = torch.tensor([row["group_id"] for row in rows], dtype=torch.int64)
        return batch

    def _collate_feature_maps(self, rows: Sequence[Mapping[str, object]]) -> dict[str, torch.Tensor]:
        if self.augmentation is not None:
            raise ValueError("Feature maps cannot be augmented: pass augmentation=None, or rows with an `image`.")
        return {"feature_map": torch.stack([torch.as_tensor(row["feature_map"], dtype=torch.float32) for row in rows])}

    def _decode(self, row: Mapping[str, object]) -> Image.Image | None:
        try:
            image = decode_image(row["image"])
        except ImageDecodingError as error:
            worker = get_worker_info()
            row = 0 if worker is None else 1 + worker.id % MAX_WORKERS
            self._counts[row, CAUSES.index(error.cause)] += 1
            if error.cause not in self._logged:
                self._logged.add(error.cause)
                logger.warning("Row left out, %s: %s Further ones of this cause are only counted.", error.cause, error)
            return None
        if self.augmentation is None:
            return image
        if "boxes" in row and self.augmentation.is_geometric:
            raise ValueError("Rows have boxes, which a moved picture invalidates: use an Augmentation of colours only.")
        if "draw_seed" not in row:
            raise ValueError("A row has no `draw_seed`, which augmentation needs: make one from (seed, epoch, index).")
        return self.augmentation(image, seed=row["draw_seed"])


__all__ = ["ContrastiveCollator"]
