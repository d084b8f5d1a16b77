"""The run that all training scripts share: seed, callbacks, resuming, training until a signal, saving, the last words.

A script builds data, model and trainer; a `Run` does what comes before, around and after `Trainer.train`.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from accelerate.utils import gather_object
from transformers import (
    BaseImageProcessor,
    PreTrainedModel,
    ProcessorMixin,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from ..data.files.atomic import atomic_files, describe_free_space, format_bytes
from ..data.files.checkpoint import exact_halves
from ..data.files.lock import output_lock
from ..data.rows.report import BadRowReport
from .callbacks.outcome import OutcomeGuard
from .callbacks.set_epoch import SetEpochCallback
from .callbacks.skip_non_finite import NonFiniteGuard
from .callbacks.stop_on_signal import train_until_signal
from .checkpoints.atomic_trainer import SAVE_ERRORS, AtomicCheckpointTrainer
from .checkpoints.finite import refuse_non_finite
from .checkpoints.resume import output_folder, resolve_resume_checkpoint
from .identity import IDENTITY, Identity, refuse_other_run, write_identity
from .recipe_options import option

REPORT = "data_report.json"  # what a run is trained on, and how
METRICS = "metrics.json"  # of the saved model


@dataclass
class RunArguments:
    """The run: resuming, and what to do about numbers that are not finite."""

    resume: bool = option(False, "resume from the newest complete checkpoint in output_dir")
    accept_changes: bool = option(
        False, "resume though settings differ from those of the checkpoint; its data and model must be the same"
    )
    on_non_finite: Literal["skip", "stop"] = option(
        "skip", "the step, or the run, when the loss or a gradient is not finite"
    )
    max_skipped_in_a_row: int = option(25, "stop when more steps in a row are skipped", low=0)


@contextmanager
def hold_output_folder(args: TrainingArguments) -> Iterator[None]:
    """Hold `output_dir` for this run while the block runs; rank 0 has the lock.

    Raises:
        ValueError: on all ranks, if another run writes there.
    """
    with ExitStack() as stack:
        refused = None
        if args.process_index == 0:
            try:
                stack.enter_context(output_lock(output_folder(args)))
            except (ValueError, OSError) as error:
                refused = str(error)
        for message in filter(None, gather_object([refused])):
            raise ValueError(message)
        yield


class Run:
    """Prepare, train, save and finish one model; to be made before data and model, since it sets the seed.

    Args:
        args: of the Trainer.
        run_args: how the run goes.
        trains: False where a model is only evaluated, so that no checkpoint is looked for.

    Attributes:
        output_dir: folder of the model, and of everything that is said of it.
        is_main: True in the process that writes and prints.
        callbacks: which every Trainer gets.
        checkpoint: to start from, None for the beginning.

    Raises:
        ValueError: the checkpoint to resume from is bad, see `resolve_resume_checkpoint`.
    """

    def __init__(self, args: TrainingArguments, run_args: RunArguments, *, trains: bool = True) -> None:
        set_seed(args.seed)
        self.output_dir = output_folder(args)
        self.is_main = args.process_index == 0
        self.guard = NonFiniteGuard(run_args.on_non_finite, run_args.max_skipped_in_a_row)
        self.callbacks: list[TrainerCallback] = [SetEpochCallback(), self.guard]
        self.checkpoint = resolve_resume_checkpoint(args, resume=run_args.resume) if trains else None
        self.resumes, self.accept_changes = run_args.resume, run_args.accept_changes
        self.identity: Identity | None = None

    def identify(self, identity: Identity) -> None:
        """Refuse to continue a checkpoint of another run, else note whose run this is; before anything is written.

        Raises:
            ValueError: with what differs, see `refuse_other_run`.
        """
        begun = Path(self.checkpoint or self.output_dir)
        if self.checkpoint or (self.resumes and (begun / IDENTITY).is_file()):
            refuse_other_run(begun, identity, accept_changes=self.accept_changes)
        self.identity = identity

    def train(self, trainer: AtomicCheckpointTrainer, *ledgers: BadRowReport, max_bad_fraction: float) -> None:
        """Train from `checkpoint` to the end or to a signal; then, also after an error, print what was left out.

        Args:
            trainer: of the model.
            ledgers: of what training reads, that of the batches first.
            max_bad_fraction: of what may be left out, see `OutcomeGuard`.

        Raises:
            SystemExit: with 143 or 130 if SIGTERM or Ctrl-C ended training, after saving a checkpoint.
            ValueError: nothing was trained on, too much was left out, or the data ended too early.
            ChildProcessError: a DataLoader worker was killed.
        """
        trainer.identity = self.identity
        if self.identity is not None and self.is_main:
            write_identity(self.output_dir, self.identity)
        outcome = OutcomeGuard(ledgers, max_bad_fraction, self.guard)
        trainer.add_callback(outcome)
        try:
            with short_worker_errors():
                train_until_signal(trainer, self.checkpoint)
        finally:
            if trainer.failed_saves:
                print(f"Checkpoints that could not be saved: {trainer.failed_saves}")
            for ledger in outcome.ledgers:
                if ledger.counts:
                    print(f"Left out while training. {ledger}")
        outcome.raise_if_failed(trainer.state)

    def save(
        self,
        trainer: Trainer,
        processor: ProcessorMixin | BaseImageProcessor | None,
        *,
        part: str = "",
        **options: bool,
    ) -> None:
        """Write the trained model, its processor if it has one, and the log of training into the output folder.

        The model may be sharded: all ranks must call this; one of diffusers may not. `part` names the submodule to
        write, such as "brivl"; the options are those of the processor's `save_pretrained`.

        Raises:
            ValueError: the weights are not finite.
            OSError: they could not be written, for lack of disk for example.
        """
        state = trainer.accelerator.get_state_dict(trainer.model)
        refuse_non_finite(state.items(), trainer.state.global_step)
        if not self.is_main:
            return
        prefix = f"{part}." if part else ""
        state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        state = exact_halves(state)
        model = trainer.accelerator.unwrap_model(trainer.model).get_submodule(part)
        weights = {"state_dict": state} if isinstance(model, PreTrainedModel) else {}  # diffusers takes its own alone
        needed = sum(value.nbytes for value in state.values())
        try:
            with atomic_files(self.output_dir) as folder:
                model.save_pretrained(folder, **weights)
                if processor is not None:
                    processor.save_pretrained(folder, **options)
                trainer.state.save_to_json(str(folder / "trainer_state.json"))
        except SAVE_ERRORS as error:
            raise OSError(
                f"The model could not be written into {self.output_dir}: {str(error)[:100]}. It needs "
                f"{format_bytes(needed)}; {describe_free_space(self.output_dir)}. Checkpoints there are intact: make "
                "room and give the same command with --resume."
            ) from error

    def finish(self, trainer: Trainer, following: str) -> Path:
        """Print where the model is and the command that comes next, wait for all ranks, and return the folder."""
        if self.is_main:
            print(f"\nThe model is in {self.output_dir}. Next: {following}")
        wait_for_all(trainer)
        return self.output_dir


def wait_for_all(trainer: Trainer) -> None:
    """Wait for all ranks and end distributed work: a rank that leaves early takes the others down."""
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()


@contextmanager
def short_worker_errors() -> Iterator[None]:
    """Raise what went wrong in a DataLoader worker as it would be raised without workers, less the traceback there."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        if not reason.startswith("DataLoader worker (pid"):
            raise
        raise ChildProcessError(
            f"{reason.strip()} Too little memory is the usual cause: lower --dataloader_num_workers or the batch size. "
            "With --resume the same command goes on from the last checkpoint."
        ) from error
    except (ValueError, OSError) as error:
        traceback = str(error).rpartition("Traceback (most recent call last):")[2]
        last = re.search(r"^[\w.]+: (.*)", traceback, re.DOTALL | re.MULTILINE)
        if last is None or not str(error).startswith("Caught "):
            raise
        raise ValueError(last[1].strip()) from error


__all__ = [
    "METRICS",
    "REPORT",
    "Run",
    "RunArguments",
    "hold_output_folder",
    "short_worker_errors",
    "wait_for_all",
]
