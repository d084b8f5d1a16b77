"""Training on a stream that is shared out among the ranks already: the settings and the callback it needs."""

from typing import Any

from accelerate.data_loader import IterableDatasetShard
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_pt_utils import AcceleratorConfig


class WholeStreamCallback(TrainerCallback):
    """Make each rank train on every batch of its own stream.

    accelerate takes an iterable dataset for one that all ranks read alike, and wraps it so that each keeps one batch in
    `world_size`: of a stream that is a rank's own share, the others would be lost. The wrapper is told that there is
    one process, as the Trainer itself does for samplers that know their rank.
    """

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Tell the wrapper before the first batch is read."""
        wrapper = kwargs["train_dataloader"].dataset
        if isinstance(wrapper, IterableDatasetShard):
            wrapper.num_processes, wrapper.process_index = 1, 0


def prepare_streaming(args: TrainingArguments) -> WholeStreamCallback:
    """Set what a stream needs in the arguments, and return the callback it needs; to be called before the Trainer.

    Every rank then reads its own share (`dispatch_batches` false: otherwise rank 0 would read all and send it around).

    Raises:
        ValueError: the number of steps is not given, or something is to happen when an epoch ends, which never does.
    """
    problems = []
    if args.max_steps <= 0:
        problems.append(
            "a stream has no length, so give the number of steps: --max_steps N. One pass over all pairs takes "
            f"(pairs / {args.train_batch_size * args.gradient_accumulation_steps * args.world_size}) steps"
        )
    for name in ("save_strategy", "eval_strategy", "logging_strategy"):
        if getattr(args, name) == "epoch":
            problems.append(f"a stream never ends an epoch, so give --{name} steps")
    if problems:
        raise ValueError(f"Training on a stream: {'; '.join(problems)}.")
    assert isinstance(args.accelerator_config, AcceleratorConfig)  # TrainingArguments makes it one
    args.accelerator_config.dispatch_batches = False
    return WholeStreamCallback()


__all__ = ["WholeStreamCallback", "prepare_streaming"]
