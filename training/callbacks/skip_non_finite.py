"""A guard that keeps NaN and infinity out of everything that lasts longer than a step."""

import logging
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.hooks import RemovableHandle
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..checkpoints.finite import ADVICE, refuse_non_finite, state_tensors
from ..distributed import any_across_ranks

logger = logging.getLogger(__name__)


class NonFiniteGuard(TrainerCallback):
    """Drop the optimizer step, or stop the run, when the loss or a gradient is NaN or infinite.

    A dropped step leaves weights, optimizer state and batch norm statistics (of query and momentum towers) as they were
    before it; the learning rate schedule and the step count go on. The queue leaves non-finite keys out by itself. A
    dropped step saves no checkpoint, which would push out one of a better time. A run that dropped most of its steps
    fails when it ends. With fp16 the gradient scaler drops such steps, as part of its work: they are not counted here
    and never stop the run.

    Args:
        on_non_finite: "skip" the step, or "stop" with ValueError.
        max_skipped_in_a_row: stop when more steps in a row are dropped.

    Attributes:
        skipped_steps: how many were dropped.
    """

    def __init__(self, on_non_finite: Literal["skip", "stop"] = "skip", max_skipped_in_a_row: int = 25) -> None:
        if on_non_finite not in ("skip", "stop"):
            raise ValueError(f"on_non_finite is {on_non_finite!r}; it must be 'skip' or 'stop'.")
        self.on_non_finite = on_non_finite
        self.max_skipped_in_a_row = max_skipped_in_a_row
        self.skipped_steps = 0
        self._first_skipped = self._first_step = self._in_a_row = 0
        self._bad_loss: Tensor | None = None  # True: a loss of this step is not finite; no wait for the device
        self._hook: RemovableHandle | None = None
        self._statistics: list[list[Tensor]] = []  # the batch norm buffers, one list a dtype
        self._saved: list[list[Tensor]] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Find the batch norm statistics and begin to watch the loss."""
        self._first_step = state.global_step + 1
        model = kwargs["model"]
        norms = [module for module in model.modules() if isinstance(module, _NormBase)]
        buffers = {id(buffer): buffer for module in norms for buffer in module.buffers(recurse=False)}.values()
        dtypes = {buffer.dtype for buffer in buffers}
        self._statistics = [[buffer for buffer in buffers if buffer.dtype == dtype] for dtype in dtypes]
        self._saved = [[buffer.clone() for buffer in group] for group in self._statistics]
        self._hook = model.register_forward_hook(self._watch_loss)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End the watch; say how many steps were dropped, and fail if they are most of a run that is complete."""
        if self._hook is not None:
            self._hook.remove()
        if not self.skipped_steps:
            return
        found = f"{self.skipped_steps} of {state.global_step + 1 - self._first_step} steps were dropped as not finite"
        if state.global_step >= state.max_steps and 2 * self.skipped_steps > state.global_step + 1 - self._first_step:
            raise ValueError(f"{found}, the first was step {self._first_skipped}; no model is saved. {ADVICE}")
        logger.warning("%s.", found)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Keep the batch norm statistics, which forward passes change."""
        self._bad_loss = None
        for group, saved in zip(self._statistics, self._saved, strict=True):
            torch._foreach_copy_(saved, group)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Look at the gradients of the step, on all ranks alike, and drop them if need be."""
        gradients = [p.grad for p in kwargs["model"].parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients, norm_type=float("inf"))  # the largest, which cannot overflow
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # of a sharded model
        bad = ~norm.isfinite()
        if self._bad_loss is not None:
            bad = bad | self._bad_loss
        if not any_across_ranks(bad):
            self._in_a_row = 0
            return
        self._first_skipped = self._first_skipped or state.global_step + 1
        for group, saved in zip(self._statistics, self._saved, strict=True):
            torch._foreach_copy_(group, saved)
        # Weights that are broken already never recover.
        refuse_non_finite(state_tensors(kwargs["model"], kwargs["optimizer"]), state.global_step)
        if args.fp16:
            return
        self.skipped_steps += 1
        self._in_a_row += 1
        part = "loss" if self._bad_loss is not None and self._bad_loss else "gradient"
        found = f"The {part} of step {state.global_step + 1} (epoch {state.epoch:.2f}) is not finite. {ADVICE}"
        if self.on_non_finite == "stop":
            raise ValueError(found)
        if self._in_a_row > self.max_skipped_in_a_row:
            raise ValueError(f"{self._in_a_row} steps in a row were not finite. {found}")
        if self.skipped_steps == 1:
            logger.warning("%s The step is dropped; further ones are only counted.", found)
        kwargs["optimizer"].zero_grad(set_to_none=True)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Save no checkpoint of a dropped step."""
        control.should_save = control.should_save and self._in_a_row == 0

    def _watch_loss(self, module: nn.Module, args: tuple, output: object) -> None:
        loss = getattr(output, "loss", None)
        if module.training and loss is not None:
            bad = ~loss.detach().isfinite()
            self._bad_loss = bad if self._bad_loss is None else self._bad_loss | bad


__all__ = ["NonFiniteGuard"]
