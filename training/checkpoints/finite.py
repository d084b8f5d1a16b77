"""A check that whatever a run would save is finite: weights, momentum towers, queue and optimizer state.

Rule: nothing is NaN or infinite, and no weight is more than `GROWTH` times as large as the largest one, or 1, was when
training began: fp16 could not hold it, and such a model says nothing. A run that breaks it ends at once.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ...data.files.checkpoint import non_finite_names, read_checkpoint
from ..distributed import any_across_ranks

GROWTH = 1000
ADVICE = "Look for NaN in the input, lower the learning rate or lengthen the warm-up."
SAVED_STATE = ("*.safetensors", "pytorch_model*.bin", "optimizer*.pt", "optimizer*.bin")  # of a checkpoint


class StateCheck(TrainerCallback):
    """End a run that has broken: looked at in each step that is logged, saved or the last, and when an epoch ends.

    Attributes:
        last_finite: the last step after which all was as it should be.
    """

    def __init__(self) -> None:
        self.last_finite = 0
        self._limit = float("inf")

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure the largest weight."""
        self.last_finite = state.global_step
        self._limit = GROWTH * max(1.0, largest(named_tensors(dict(kwargs["model"].named_parameters()))))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Check a step that is logged, saved or the last."""
        if control.should_log or control.should_save or control.should_training_stop:
            self.check(kwargs["model"], kwargs["optimizer"], state.global_step)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Check the last step of an epoch."""
        self.check(kwargs["model"], kwargs["optimizer"], state.global_step)

    def check(self, model: nn.Module, optimizer: Optimizer, step: int) -> None:
        """Raise ValueError, on all ranks alike, if the state after a step is broken."""
        if step == self.last_finite:
            return
        refuse_non_finite(state_tensors(model, optimizer), step, since=self.last_finite)
        size = largest(named_tensors(dict(model.named_parameters())))
        if any_across_ranks(size > self._limit):
            raise ValueError(
                f"The run has diverged: after step {step} the largest weight is {size:.2g}, more than {GROWTH} times "
                f"what it was. {describe_consequence(step)}"
            )
        self.last_finite = step


def refuse_non_finite(tensors: Iterable[tuple[str, Tensor]], step: int, *, since: int | None = None) -> None:
    """Raise ValueError, on all ranks alike, if one of the tensors holds NaN or infinity after a step.

    `since` is the last step after which all were finite.
    """
    named = list(tensors)
    names = [] if math.isfinite(largest(named)) else non_finite_names(named)
    if not any_across_ranks(bool(names)):
        return
    known = "" if since is None else f", all were after step {since}"
    example = f", such as {names[0]}" if names else ", of another process"
    raise ValueError(
        f"After step {step}, {len(names)} of {len(named)} tensors are not finite{example}{known}. "
        f"{describe_consequence(step)}"
    )


def describe_consequence(step: int) -> str:
    """Return what became of a broken step, and what to do."""
    return (
        f"The run ends and step {step} is not saved; older checkpoints stay. {ADVICE} With --resume the same command "
        "starts from the last good checkpoint."
    )


def state_tensors(model: nn.Module, optimizer: Optimizer) -> Iterator[tuple[str, Tensor]]:
    """Yield name and tensor of all that a checkpoint of a run holds; of sharded ones, this rank's share."""
    parameters = dict(model.named_parameters())
    yield from named_tensors(parameters)
    for prefix, module in model.named_modules():
        skipped = module._non_persistent_buffers_set
        buffers = {name: x for name, x in module.named_buffers(recurse=False) if name not in skipped}
        yield from named_tensors(buffers, prefix)
    for name, parameter in parameters.items():
        yield from named_tensors(optimizer.state.get(parameter, {}), name)
    yield "learning rate", torch.tensor([float(group["lr"]) for group in optimizer.param_groups])
    if (scaler := getattr(optimizer, "scaler", None)) is not None:  # of fp16
        yield "gradient scaler", torch.tensor(scaler.get_scale())


def named_tensors(value: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors in nested containers, each with its place in them; of sharded ones, this rank's share."""
    if isinstance(value, Tensor):
        yield name, value.to_local() if hasattr(value, "to_local") else value
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in items:
        yield from named_tensors(entry, f"{name}.{key}" if name else str(key))


def largest(tensors: Iterable[tuple[str, Tensor]]) -> float:
    """Return the largest absolute value of tensors, NaN if one holds it."""
    floats = [tensor.detach() for _, tensor in tensors if tensor.is_floating_point() and tensor.numel()]
    return nn.utils.get_total_norm(floats, norm_type=float("inf")).item() if floats else 0.0


def non_finite_in_checkpoint(folder: Path) -> str | None:
    """Return which file of a checkpoint holds NaN or infinity and in which tensor, None if none does.

    Raises:
        OSError, ValueError: a file cannot be read.
    """
    for path in sorted(path for pattern in SAVED_STATE for path in folder.glob(pattern)):
        if names := non_finite_names(named_tensors(read_checkpoint(path))):
            return f"{len(names)} of the tensors in {path.name} are not finite, such as {names[0]}"
    return None


__all__ = [
    "ADVICE",
    "StateCheck",
    "describe_consequence",
    "non_finite_in_checkpoint",
    "refuse_non_finite",
    "state_tensors",
]
