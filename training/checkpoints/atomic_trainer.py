"""Checkpoints that are complete or absent, whatever interrupts the saving.

A checkpoint is written below a hidden folder, `.saving-STEP`, gets its manifest, goes to the disk, and only then takes
its name `checkpoint-STEP`. Older ones are deleted after that.
"""

import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from transformers import DataCollator, PreTrainedModel, Trainer
from transformers.trainer_utils import IntervalStrategy, SaveStrategy, TrainOutput
from transformers.utils import SAFE_WEIGHTS_NAME

from ...data.files.atomic import UNFINISHED, describe_free_space, sync
from ...data.rows.report import EmptyBatchError
from ..distributed import any_across_ranks, sum_across_ranks
from ..identity import Identity, write_identity
from .finite import StateCheck
from .manifest import verify_checkpoint, write_manifest
from .rotation import number_of_run, rotate_checkpoints

logger = logging.getLogger(__name__)

SAME_RECIPE = "Give the recipe it was trained by, or another output_dir to begin anew."
SAVE_ERRORS = (OSError, RuntimeError, SafetensorError)  # of files, of torch.save, of safetensors


@dataclass
class OrEmpty:
    """A collator that returns an empty batch where the one it wraps raises EmptyBatchError."""

    collate: DataCollator

    def __call__(self, rows: list[Any]) -> dict[str, Any]:
        """Return the batch."""
        try:
            return self.collate(rows)
        except EmptyBatchError:
            return {}


class AtomicCheckpointTrainer(Trainer):
    """A `Trainer` whose checkpoints are complete or absent, and hold the processor of its collator.

    A batch of which no row can be used is left out on all ranks: it adds nothing to the gradient of its step.

    A run whose weights or state are broken ends, see `finite.py`; that step is not saved. A checkpoint that cannot be
    saved (disk full) is logged and counted, the older ones stay, and training goes on. With several ranks all give it
    up if one fails.

    Attributes:
        failed_saves: number of checkpoints that could not be saved so far.
        identity: of the run, which goes into each checkpoint.
    """

    failed_saves = 0
    identity: Identity | None = None
    _saving: Path | None = None  # the hidden folder, while a checkpoint is being written
    _is_lost_step = False  # no batch of it has a usable row
    _run = 1  # number of this run among those in the folder

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.state_check = StateCheck()
        self.add_callback(self.state_check)

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> TrainOutput:
        """Train as the parent does."""
        start = Path(resume_from_checkpoint) if isinstance(resume_from_checkpoint, str) else None
        if self.args.should_save:
            self._run = number_of_run(Path(self._get_output_dir(None)), start)
        output = super().train(resume_from_checkpoint, *args, **kwargs)
        if self.args.should_save and start and self.args.save_strategy != SaveStrategy.NO:
            self._rotate()  # a run that was killed between its last save and this one's rotation saves no more
        return output

    def _get_dataloader(self, *args: Any, **kwargs: Any) -> DataLoader:
        # The parent would leave the last batch of an evaluation out as well; `dataloader_drop_last` is for training.
        drop_last = self.args.dataloader_drop_last
        self.args.dataloader_drop_last = drop_last and kwargs.get("is_training", False)
        may_be_empty = kwargs.get("is_training", False) or self.args.world_size == 1
        try:
            with self._may_be_empty() if may_be_empty else nullcontext():
                return super()._get_dataloader(*args, **kwargs)
        finally:
            self.args.dataloader_drop_last = drop_last

    @contextmanager
    def _may_be_empty(self) -> Iterator[None]:
        """Have the loader that is made in the block give empty batches where no row can be used."""
        collator = self.data_collator
        self.data_collator = OrEmpty(collator)
        try:
            yield
        finally:
            self.data_collator = collator

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list, Tensor | int | None]:
        """Return the batches of a step; those that are empty on any rank come first, and are empty on all.

        Gradients are sent to the other ranks with the last batch of a step, so that one must not be left out alone.
        """
        batches = list(islice(epoch_iterator, num_batches))
        is_empty = sum_across_ranks(torch.tensor([not batch for batch in batches], dtype=torch.int64)) > 0
        full = [batch for batch, empty in zip(batches, is_empty.tolist(), strict=True) if not empty]
        self._is_lost_step = not full
        return [{}] * (len(batches) - len(full)) + full, self._get_num_items_in_batch(full, device)

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Tensor:
        """Return the loss of a batch, 0 for an empty one."""
        if inputs:
            return super().training_step(model, inputs, *args, **kwargs)
        loss = torch.zeros((), device=self.args.device)
        if self._is_lost_step and self.accelerator.scaler is not None:  # it drops steps, but needs a gradient for that
            self.accelerator.scaler.scale(loss)
            first = next(parameter for parameter in model.parameters() if parameter.requires_grad)
            first.grad = torch.full_like(first, torch.inf)
        return loss

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[Tensor | None, Any, Any]:
        """Return loss, predictions and labels of a batch, None for an empty one."""
        if not inputs:
            return None, None, None
        return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._saving or super()._get_output_dir(trial))

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        assert self.optimizer is not None  # it trains
        self.state_check.check(model, self.optimizer, self.state.global_step)
        output_dir = Path(self._get_output_dir(trial))
        name = f"checkpoint-{self.state.global_step}"
        saving = output_dir / f"{UNFINISHED}{self.state.global_step}"
        best = self.state.best_model_checkpoint
        error = None
        try:
            self._write_checkpoint(model, trial, saving / name)
        except SAVE_ERRORS as failure:
            error = failure
        failed = any_across_ranks(error is not None)  # when this returns, all ranks have written
        if not failed and self.args.should_save:
            try:
                write_manifest(saving / name, run=self._run, step=self.state.global_step)
                _take_name(saving / name)
            except SAVE_ERRORS as failure:
                error = failure
        if failed or any_across_ranks(error is not None):
            self.state.best_model_checkpoint = best
            self._give_up(saving, error)
            return
        if self.args.push_to_hub:
            super()._push_from_checkpoint(str(output_dir / name))
        if self.args.should_save:
            self._rotate()

    def _rotate(self) -> None:
        output_dir = Path(self._get_output_dir(None))
        limit, best = self.args.save_total_limit, self.state.best_model_checkpoint
        rotate_checkpoints(output_dir, output_dir / f"checkpoint-{self.state.global_step}", limit=limit, best=best)

    def _write_checkpoint(self, model: nn.Module, trial: Any, checkpoint: Path) -> None:
        """Have the parent write into the hidden folder, whose name must not appear in what it writes."""
        state = self.state
        best_step, state.best_global_step = state.best_global_step, None  # the parent would look for its folder here
        self._saving = checkpoint.parent
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self._saving, state.best_global_step = None, best_step
        if best_step == state.global_step:
            state.best_model_checkpoint = str(checkpoint.parent.parent / checkpoint.name)
        if self.identity is not None and self.args.should_save:
            write_identity(checkpoint, self.identity)
        if best_step is not None and self.args.should_save:
            state.save_to_json(str(checkpoint / "trainer_state.json"))

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        super()._save(output_dir, state_dict)
        processor = getattr(self.data_collator, "processor", None)
        if self.args.should_save and self.processing_class is None and processor is not None:
            processor.save_pretrained(output_dir or self.args.output_dir)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as the parent does; what the log keeps is that of the whole run, without times of this process."""
        super().log(logs, start_time)
        if "train_runtime" in logs:  # a summary since the start, or since the run was resumed
            self.state.log_history.pop()
        else:
            timed = [name for name in logs if name.endswith(("_runtime", "_per_second"))]
            self.state.log_history[-1] = {x: y for x, y in self.state.log_history[-1].items() if x not in timed}

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        # What a resumed run logs next would lack the losses since the last log.
        if self.control.should_save and self.args.logging_strategy != IntervalStrategy.NO:
            self.control.should_log = True
        super()._maybe_log_save_evaluate(*args, **kwargs)

    def _give_up(self, saving: Path, error: Exception | None) -> None:
        self.failed_saves += 1
        logger.error(
            "The checkpoint of step %d could not be saved (%s). The older ones are intact and training goes on; %s.",
            self.state.global_step,
            error or "another process failed",
            describe_free_space(saving.parent),
        )
        if self.args.should_save:
            shutil.rmtree(saving, ignore_errors=True)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Wait until the folder has its name."""

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        # The parent would make one step more when it resumes in mid-epoch from the checkpoint of the last step.
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(*args, **kwargs)
        else:  # nor end by itself where an epoch has no end
            self.control.should_training_stop = True

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        trained = model or self.model
        if trained is not None and not self.is_fsdp_enabled:
            refuse_other_model(trained, Path(resume_from_checkpoint))
        super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None and isinstance(self.optimizer, Optimizer) and isinstance(self.model, PreTrainedModel):
            inner = getattr(self.optimizer, "optimizer", self.optimizer)  # without Accelerate's wrapper
            inner.register_load_state_dict_pre_hook(partial(without_unused, self.model))
        try:
            super()._load_optimizer_and_scheduler(checkpoint)
        except ValueError as error:
            raise ValueError(f"The optimizer of {checkpoint} is another one ({error}). {SAME_RECIPE}") from error
        if checkpoint is not None and self.optimizer is not None:
            # Names of its state are the same objects again: those read and those of later steps would be saved twice,
            # and the file would differ from that of an unbroken run in nothing but that.
            state = self.optimizer.state
            for parameter in state:
                state[parameter] = {sys.intern(name): value for name, value in state[parameter].items()}


def without_unused(model: PreTrainedModel, optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of an optimizer without the parameters that no loss reaches, which older runs list too."""
    places = {parameter: place for place, parameter in enumerate(model.parameters())}
    names = getattr(model, "_unused_parameters", ())
    unused = {places[model.base_model.get_parameter(name)] for name in names}
    groups = []
    for group, saved in zip(optimizer.param_groups, state["param_groups"], strict=False):
        listed = sorted(unused | {places[one] for one in group["params"] if one in places})
        if unused and len(listed) == len(saved["params"]) > len(group["params"]):
            pairs = zip(saved["params"], listed, strict=True)
            saved = saved | {"params": [number for number, place in pairs if place not in unused]}
        groups.append(saved)
    return state | {"param_groups": groups}


def refuse_other_model(model: nn.Module, checkpoint: Path) -> None:
    """Raise ValueError, with an example, if the weights of a checkpoint have other names or shapes than a model.

    Those of a sharded checkpoint are left to its loader.
    """
    path = checkpoint / SAFE_WEIGHTS_NAME
    if not path.is_file():
        return
    with safe_open(path, framework="pt") as file:
        found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  no iterator
    state = model.state_dict()
    shared = {state[name].data_ptr() for name in found.keys() & state.keys()}  # tied weights are saved once
    wanted = {name: tuple(x.shape) for name, x in state.items() if name in found or x.data_ptr() not in shared}
    if different := sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)):
        name = different[0]
        raise ValueError(
            f"{checkpoint} is of another model: {len(different)} of {len(wanted)} tensors differ, such as {name}: "
            f"{found.get(name, 'absent')} there and {wanted.get(name, 'absent')} now. {SAME_RECIPE}"
        )


def recover_partial_checkpoints(output_dir: Path) -> None:
    """Clear what a killed process left behind: a complete checkpoint gets its name, the rest is removed."""
    for path in sorted(output_dir.glob(f"{UNFINISHED}*")):
        if not path.is_dir():
            path.unlink()
            continue
        for checkpoint in path.glob("checkpoint-*"):
            if verify_checkpoint(checkpoint) is None:
                _take_name(checkpoint)
        shutil.rmtree(path, ignore_errors=True)


def _take_name(checkpoint: Path) -> None:
    """Move a complete checkpoint out of its hidden folder; one that had the name before goes afterwards."""
    saving = checkpoint.parent
    final = saving.parent / checkpoint.name
    if final.exists():
        os.replace(final, saving / "replaced")
    os.replace(checkpoint, final)
    sync(saving.parent)
    shutil.rmtree(saving, ignore_errors=True)


__all__ = ["SAVE_ERRORS", "AtomicCheckpointTrainer", "OrEmpty", "recover_partial_checkpoints"]
