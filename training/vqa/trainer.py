"""A `Trainer` for visual question answering: a faster head, and predictions that are the number of the best answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ...processing.collators.mlmm_finetuning import MLMMQuestionCollator
from ...processing.collators.region_batch import Example
from ...processing.region_inputs import ImageRegions
from ..checkpoints.atomic_trainer import AtomicCheckpointTrainer


@dataclass
class VQACollator(MLMMQuestionCollator):
    """Return the usable rows as the parent does; rows without `answers`, which are to be answered, always stay.

    An image without usable regions is then one region of zeros that covers all of it: the question is answered
    without looking, since the official accuracy counts every question. It is counted in `bad_rows` all the same.

    Args:
        question_only: that region in place of every image, so that not even the number of regions tells anything.
    """

    question_only: bool = False

    def read_images(
        self, rows: Sequence[Example], *, with_class_probs: bool = False
    ) -> tuple[list[Example], list[ImageRegions]]:
        """Return the rows to use, and their regions."""
        if not self.question_only and "answers" in rows[0]:
            return super().read_images(rows, with_class_probs=with_class_probs)
        if self.processor.region_feature_dim is None:
            raise ValueError("The processor does not know the width of regions; give it region_feature_dim.")
        blank = dummy_region(self.processor.region_feature_dim)
        return list(rows), [blank if self.question_only else self.read_image(row["regions"]) or blank for row in rows]


def dummy_region(width: int) -> ImageRegions:
    """Return one region that says nothing: the whole image, with features of zeros."""
    return ImageRegions(torch.zeros(1, width), torch.tensor([[0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]]))


class VQATrainer(AtomicCheckpointTrainer):
    """Trains `MLMMForVisualQuestionAnswering`; predictions are (n,) numbers of the best answers.

    Logits and targets of 200,000 questions with 3,129 answers would fill 5 GB, so they are not collected.

    Args:
        head_lr_factor: how many times faster the head learns than the rest. Source: UNITER, 10.
        The rest: as for `Trainer`.
    """

    def __init__(self, model: nn.Module, *args: Any, head_lr_factor: float = 10.0, **kwargs: Any) -> None:
        self.head_lr_factor = head_lr_factor
        super().__init__(model, *args, **kwargs)

    def create_optimizer(self, model: nn.Module | None = None) -> Optimizer:
        """Return the parent's optimizer, with the head in groups of its own."""
        is_new = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if is_new:
            trained = self.model if model is None else model
            assert trained is not None  # a Trainer has a model
            head = {id(value) for name, value in trained.named_parameters() if "vqa_head." in name}
            for group in list(optimizer.param_groups):
                mine = [value for value in group["params"] if id(value) in head]
                group["params"] = [value for value in group["params"] if id(value) not in head]
                if mine:
                    optimizer.add_param_group({**group, "params": mine, "lr": group["lr"] * self.head_lr_factor})
        return optimizer

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the loss and (b,) numbers of the best answers, twice: without labels the metrics are not computed."""
        loss, logits, _ = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        best = None if logits is None else logits.argmax(dim=1)
        return loss, best, best


__all__ = ["VQACollator", "VQATrainer", "dummy_region"]
