"""Stopping a run on SIGTERM, Ctrl-C or the end of its terminal (SIGHUP) between two steps, with a complete checkpoint.

`enable_jit_checkpoint` of the Trainer is not used: it saves inside a step, when the momentum towers have moved and the
optimizer has not, so that the resumed run differs; and it waits three seconds first.
"""

import os
import signal
import stat
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType, TracebackType
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..distributed import any_across_ranks

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StopOnSignal(TrainerCallback):
    """Note SIGTERM, SIGHUP and the first Ctrl-C inside `with`, and stop after the step; a second Ctrl-C acts as before.

    Under `nohup`, which ignores SIGHUP, it stays ignored. What would be printed to a terminal that is gone is lost.

    After the optimizer step at hand a checkpoint is saved and training ends, on all ranks at the same step. DataLoader
    workers get a process group of their own, since a signal to the whole group (Ctrl-C, `timeout`, `kill -- -PGID`)
    would kill them before the step is over.

    Attributes:
        signal_number: of the signal that came to this process, None before.
        has_stopped: True if training ended for a signal to any rank.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self.has_stopped = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopOnSignal":
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            noted = [number for number in SIGNALS if not _is_ignored_hangup(number)]
            self._previous = {number: signal.signal(number, self._take_note) for number in noted}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _take_note(self, number: int, frame: FrameType | None) -> None:
        self.signal_number = number
        if number == signal.SIGINT:  # SIGTERM may come twice from one cause: torchrun and `timeout` repeat it
            signal.signal(number, self._previous[number])
        if number == signal.SIGHUP:
            _let_go_of_the_terminal()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Keep the DataLoader workers out of the reach of signals to the group."""
        loader = kwargs["train_dataloader"]
        loader = getattr(loader, "base_dataloader", loader)  # within accelerate's wrapper
        loader.worker_init_fn = partial(_leave_the_group, loader.worker_init_fn)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Ask for a checkpoint and the end if a signal has come to any rank."""
        if any_across_ranks(self.signal_number is not None):
            self.has_stopped = True
            control.should_save, control.should_evaluate, control.should_training_stop = True, False, True

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Skip what would be done at the end of an epoch: the checkpoint is there."""
        if self.has_stopped:
            control.should_save = control.should_evaluate = False


def train_until_signal(trainer: Trainer, checkpoint: str | None) -> None:
    """Train from a checkpoint, if given, to the end, or to a signal; then say how to resume and raise SystemExit.

    Raises:
        SystemExit: with 128 + the number of the signal, as shells have it: 143 for SIGTERM, 130 for Ctrl-C,
            129 for SIGHUP.
    """
    with StopOnSignal() as stop:
        trainer.add_callback(stop)
        trainer.train(resume_from_checkpoint=checkpoint)
    if stop.has_stopped:
        if trainer.is_world_process_zero():
            step, folder = trainer.state.global_step, trainer.args.output_dir
            print(f"Stopped by a signal after step {step}. To resume in {folder}: the same command with --resume")
        raise SystemExit(128 + (stop.signal_number or signal.SIGTERM))


def _is_ignored_hangup(number: int) -> bool:
    return number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN


def _let_go_of_the_terminal() -> None:
    """Send to nowhere what goes to a terminal: writing to one that is gone is an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        if stat.S_ISCHR(os.fstat(descriptor).st_mode):
            os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _leave_the_group(worker_init_fn: Callable[[int], None] | None, worker_id: int) -> None:
    os.setpgid(0, 0)
    if worker_init_fn is not None:
        worker_init_fn(worker_id)


__all__ = ["StopOnSignal", "train_until_signal"]
