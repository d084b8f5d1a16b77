"""Rows of one task to one batch of MLMM's pre-training."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...data.mlmm.corpus import TASKS
from ...data.rows.types import MaskingExample
from ..region_inputs import ImageRegions, pad_regions
from .masking import MASKED_FRACTION, mask_regions, mask_words
from .region_batch import RegionCollator


@dataclass
class MLMMPretrainingCollator(RegionCollator):
    """Collate rows of `MLMMExamples`, all of one task, into the keyword arguments of `MLMMForPreTraining`.

    What is masked follows from each row's `seed`. A row whose regions cannot be used is left out, counted in
    `bad_rows` and logged once a cause. The batch is then shorter.

    Args:
        processor: makes the tensors; its tokenizer must have a mask token.
        masked_fraction: of words and of regions.
    """

    masked_fraction: float = MASKED_FRACTION

    def __post_init__(self) -> None:
        if self.processor.tokenizer.mask_token_id is None:
            raise ValueError("The tokenizer has no mask token, which MLM needs; take one of XLM-R's kind.")

    def __call__(self, rows: Sequence[MaskingExample]) -> dict[str, Tensor | str]:
        """Return the batch of the B rows whose regions can be used.

        Returns:
            input_ids, attention_mask (B, L), region_features (B, N, d), region_boxes (B, N, 7), region_attention_mask
            (B, N): as from the processor, words hidden for "mlm".
            task: "itm", "mlm", "mrfr" or "mrc".
            itm_labels: (B,) 1 = they match, for "itm".
            mlm_labels: (B, L), -100 where nothing was chosen, for "mlm".
            masked_regions: (B, N) bool, for "mrfr" and "mrc", with mrfr_labels (m, d) or mrc_labels (m, c): features or
            class distributions of the masked regions, in row-major order.

        Raises:
            EmptyBatchError: no row can be used.
            ValueError: the rows are of several tasks.
        """
        tasks = {row["task"] for row in rows}
        if len(tasks) != 1 or not tasks <= set(TASKS):
            raise ValueError(f"A batch has one task of {', '.join(TASKS)}; these rows have {sorted(tasks)}.")
        (task,) = tasks
        rows, images = self.read_images(rows, with_class_probs=task == "mrc")
        regions = pad_regions([image._replace(class_probs=None) for image in images])  # the model hides features
        encoded = self.processor(text=[row["text"] for row in rows], return_special_tokens_mask=True)
        is_special = encoded.pop("special_tokens_mask").bool()
        batch: dict[str, Tensor | str] = {"task": task, **encoded, **regions}
        if task == "itm":
            return batch | {"itm_labels": torch.tensor([row["itm_label"] for row in rows], dtype=torch.int64)}
        rngs = [np.random.default_rng(row["seed"]) for row in rows]
        if task == "mlm":
            return batch | self._mask_words(encoded["input_ids"], is_special, rngs)
        masks = [
            torch.from_numpy(mask_regions(len(image.boxes), rng, fraction=self.masked_fraction))
            for image, rng in zip(images, rngs, strict=True)
        ]
        hidden = torch.cat([_targets(image, task)[mask] for image, mask in zip(images, masks, strict=True)])
        return batch | {"masked_regions": pad_sequence(masks, batch_first=True), f"{task}_labels": hidden}

    def _mask_words(
        self, input_ids: Tensor, is_special: Tensor, rngs: Sequence[np.random.Generator]
    ) -> dict[str, Tensor]:
        masked = [
            mask_words(
                ids,
                ~special,
                rng,
                mask_token_id=self.processor.tokenizer.mask_token_id,
                ordinary_ids=self._ordinary_ids,
                fraction=self.masked_fraction,
            )
            for ids, special, rng in zip(input_ids.numpy(), is_special.numpy(), rngs, strict=True)
        ]
        ids, labels = (torch.from_numpy(np.stack(arrays)) for arrays in zip(*masked, strict=True))
        return {"input_ids": ids, "mlm_labels": labels}

    @cached_property
    def _ordinary_ids(self) -> np.ndarray:
        tokenizer = self.processor.tokenizer
        return np.setdiff1d(np.arange(len(tokenizer)), tokenizer.all_special_ids)


def _targets(image: ImageRegions, task: str) -> Tensor:
    if task == "mrfr":
        return image.features
    assert image.class_probs is not None  # they were asked for
    return image.class_probs


__all__ = ["MLMMPretrainingCollator"]
