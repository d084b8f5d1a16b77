"""The outcome of a run: one that trained on nothing, or left out more than it may, fails and saves no model."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import has_length

from ...data.rows.report import BadRowError, BadRowReport, TooManyBadRowsError
from ..distributed import sum_across_ranks
from .skip_non_finite import NonFiniteGuard

logger = logging.getLogger(__name__)

MIN_ROWS = 200  # before so many rows (or steps) are met, one bad row says little


class OutcomeGuard(TrainerCallback, ExportableState):
    """Compare what is left out while training, rows and steps, with the fraction that may be, all ranks together.

    A step is left out if it was dropped as not finite, or if more than half of its rows were left out. The run stops
    soon after the limit is passed; what an evaluation reads does not count. A resumed run goes on counting.

    Args:
        ledgers: of what training reads, that of the batches first; workers may count in them.
        max_bad_fraction: of the rows of each ledger, and of the steps.
        non_finite: counts the dropped steps.

    Attributes:
        steps: the ledger of the steps.
        failure: why the run fails, None as long as it does not.
    """

    def __init__(self, ledgers: Sequence[BadRowReport], max_bad_fraction: float, non_finite: NonFiniteGuard) -> None:
        self.steps = BadRowReport("optimizer steps")
        self.ledgers = (*ledgers, self.steps)
        self.max_bad_fraction = max_bad_fraction
        self.failure: str | None = None
        self._non_finite = non_finite
        self._dropped = self._small_in_a_row = 0
        self._learns = False  # the learning rate of some step was above 0
        self._is_small = False  # more than half of the rows read last were left out
        # (ledgers, 2) left out and kept: before the resume, without evaluations, and at the last step
        self._before = torch.zeros(len(self.ledgers), 2, dtype=torch.int64)
        self._other = self._before.clone()
        self._last = self._before.clone()

    def state(self) -> dict:
        """Return the counts for a checkpoint; none, so that the numbers of workers leave no trace, if all is well."""
        counts = self._before + self._last
        return {"args": {}, "attributes": {"counts": counts.tolist()} if counts[:, 0].any() else {}}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Read the counts of the run that is resumed; refuse data that make no step, and a model that cannot learn."""
        if not any(parameter.requires_grad for parameter in kwargs["model"].parameters()):
            raise ValueError("Nothing would be learnt: all parameters of the model are frozen. Train some part of it.")
        name, known = type(self).__name__, state.stateful_callbacks
        assert isinstance(known, dict)  # so `TrainerState` keeps them
        if saved := known.setdefault(name, self.state())["attributes"]:
            self._before = torch.tensor(saved["counts"])
        loader = kwargs["train_dataloader"]
        if has_length(loader) and not len(loader):
            refuse_too_few(args, len(kwargs["train_dataloader"].dataset))

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Note whether the learning rate is above 0."""
        self._learns |= any(group["lr"] > 0 for group in kwargs["optimizer"].param_groups)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Count the step; stop training, with a checkpoint if there are no others, if too much was left out."""
        now = self._count()
        left_out, kept = (now - self._last)[0].tolist()
        if left_out or kept:  # a step may have been read with the one before
            self._is_small = left_out > kept
        self._count_step(state.global_step)
        now[-1] = _numbers(self.steps)
        self._last = now
        self.check(is_over=state.global_step >= state.max_steps)
        if self.failure is None and self._small_in_a_row > self._non_finite.max_skipped_in_a_row:
            self.failure = f"{self._small_in_a_row} steps in a row lost more than half of their rows"
        if self.failure is not None:
            control.should_training_stop, control.should_evaluate = True, False
            control.should_save |= args.save_strategy == "no"

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Leave what was read since the last step out of the counts.

        Raises:
            TooManyBadRowsError: the evaluation left out too much, so that its metrics say little.
        """
        read = self._count() - self._last
        self._other += read
        if left_out := int(read[0, 0]):
            found = BadRowReport(f"evaluation at step {state.global_step}", int(read[0, 1]))
            example = next(iter(self.ledgers[0].examples.values()), "")
            found.add_bad_row(BadRowError("left out of the evaluation", example), number=left_out)
            found.raise_above(self.max_bad_fraction)

    def check(self, *, is_over: bool) -> None:
        """Set `failure` if more than allowed is left out; before the run is over only of a fair number of rows."""
        for ledger, (left_out, kept) in zip(self.ledgers, (self._before + self._last).tolist(), strict=True):
            met = left_out + kept
            if left_out > self.max_bad_fraction * (met if is_over else max(met, MIN_ROWS)) or (
                is_over and met > kept == 0
            ):
                limit = f"more than {self.max_bad_fraction:.0%}" if kept else "all there were"
                self.failure = f"{left_out} of {met} {ledger.source} were left out, {limit}"
                return

    def raise_if_failed(self, state: TrainerState) -> None:
        """Raise for a run that is over: too much was left out, or the data ended before the steps did.

        Raises:
            TooManyBadRowsError: more than `max_bad_fraction` was left out.
            ValueError: fewer steps were made than asked for.
        """
        if self.failure is None:
            self.check(is_over=True)
        place = f"step {state.global_step} of {state.max_steps}"
        if self.failure is not None:
            raise TooManyBadRowsError(
                f"Training failed at {place}: {self.failure} (max_bad_fraction). The ledger above names the causes. "
                "No model was saved: mend the data and resume from an earlier checkpoint, or begin anew."
            )
        if state.global_step < state.max_steps or not state.global_step:
            raise ValueError(
                f"Training failed at {place}: the data gave no further batch. No model was saved: see that the files "
                "are there and hold samples, then give the same command with --resume."
            )
        if not self._learns:
            logger.warning(
                "Nothing was learnt: the learning rate was 0 in all steps, of which the first %s are for warm-up. Give "
                "--max_steps more or --warmup_steps less.",
                state.max_steps,
            )

    def _count(self) -> torch.Tensor:
        """Return (ledgers, 2), what was left out and kept so far for training, over all ranks."""
        rows = sum_across_ranks(torch.stack([_numbers(ledger) for ledger in self.ledgers[:-1]]))
        return torch.cat([rows, _numbers(self.steps)[None]]) - self._other  # steps are the same on all ranks

    def _count_step(self, step: int) -> None:
        self._small_in_a_row = self._small_in_a_row + 1 if self._is_small else 0
        dropped, self._dropped = self._non_finite.skipped_steps - self._dropped, self._non_finite.skipped_steps
        if dropped:
            self.steps.add_bad_row(BadRowError("step not finite", "loss or gradient"), step)
        elif self._is_small:
            self.steps.add_bad_row(BadRowError("small batch", "more than half of the rows were left out"), step)
        else:
            self.steps.keep_rows()


def _numbers(ledger: BadRowReport) -> torch.Tensor:
    return torch.tensor([ledger.counts.total(), ledger.rows_kept])


def refuse_too_few(args: TrainingArguments, rows: int) -> None:
    """Raise ValueError if not one batch can be made of so many rows."""
    batch = args.train_batch_size * args.world_size
    if not rows:
        raise ValueError("There are no rows to train on.")
    if args.dataloader_drop_last and rows < batch:
        raise ValueError(
            f"Nothing would be trained on: {rows} rows make no batch of {batch}, and dataloader_drop_last leaves an "
            f"incomplete one out. Give --per_device_train_batch_size {max(1, rows // args.world_size)} or less, or "
            "--dataloader_drop_last false."
        )


__all__ = ["OutcomeGuard", "refuse_too_few"]
