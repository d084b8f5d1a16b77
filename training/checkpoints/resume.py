"""The checkpoint that a run starts from: the newest one that is whole, or none. Never one that lost a part."""

import logging
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import gather_object
from transformers import TrainingArguments

from .atomic_trainer import recover_partial_checkpoints
from .manifest import verify_checkpoint
from .rotation import find_checkpoints

logger = logging.getLogger(__name__)


def output_folder(args: TrainingArguments) -> Path:
    """Return the folder that a Trainer writes into."""
    assert args.output_dir is not None  # TrainingArguments fills it in
    return Path(args.output_dir)


def newest_valid_checkpoint(output_dir: Path, *, world_size: int | None = None) -> Path | None:
    """Return the newest checkpoint, by run and step, that `verify_checkpoint` passes, None if there is no checkpoint.

    Each one that is passed over is logged with its fault.

    Args:
        output_dir: holds folders `checkpoint-STEP`.
        world_size: see `verify_checkpoint`.

    Raises:
        ValueError: there are checkpoints, but no valid one; each is named with its fault.
    """
    faults = []
    for path in reversed(find_checkpoints(output_dir)):
        fault = verify_checkpoint(path, world_size=world_size)
        if fault is None:
            return path
        faults.append(f"{path}: {fault}.")
        logger.warning("Passed over %s", faults[-1])
    if faults:
        raise ValueError(
            "No checkpoint can be continued from:\n"
            + "\n".join(faults)
            + "\nMove them away, or give another output_dir, to start from the beginning."
        )
    return None


def resolve_resume_checkpoint(args: TrainingArguments, *, resume: bool) -> str | None:
    """Return the checkpoint to start from, None for the beginning, and say which. Unfinished saves are cleared first.

    Args:
        args: `resume_from_checkpoint` names one checkpoint, which must be valid.
        resume: take the newest valid one in `output_dir`, if there is one.

    Raises:
        ValueError: the checkpoint, or all of them, are damaged; the ranks see different ones; both ways are asked for.
    """
    if resume and args.resume_from_checkpoint:
        raise ValueError("Give --resume or --resume_from_checkpoint, not both.")
    state, output_dir = PartialState(), output_folder(args)
    if args.should_save:
        recover_partial_checkpoints(output_dir)
    state.wait_for_everyone()
    checkpoint = None
    if args.resume_from_checkpoint:
        checkpoint = Path(args.resume_from_checkpoint)
        if fault := verify_checkpoint(checkpoint, world_size=args.world_size):
            raise ValueError(f"Cannot continue from {checkpoint}: {fault}.")
    elif resume:
        checkpoint = newest_valid_checkpoint(output_dir, world_size=args.world_size)
    found = set(gather_object([str(checkpoint)]))
    if len(found) > 1:
        raise ValueError(f"The processes found different checkpoints: {sorted(found)}. Leave only those they share.")
    if state.is_main_process and (resume or checkpoint):
        print(f"Continues from {checkpoint}." if checkpoint else f"No checkpoint in {output_dir}: from the beginning.")
    elif state.is_main_process and find_checkpoints(output_dir):
        print(f"Starts from the beginning; --resume would continue from a checkpoint in {output_dir}.")
    return str(checkpoint) if checkpoint else None


__all__ = ["newest_valid_checkpoint", "output_folder", "resolve_resume_checkpoint"]
