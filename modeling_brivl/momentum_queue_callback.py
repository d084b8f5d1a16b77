"""The callback of momentum contrast for `transformers.Trainer`."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class MomentumQueueCallback(TrainerCallback):
    """Moves the momentum towers and fills the queue of a `BriVLForPreTraining` inside `transformers.Trainer`.

    Per optimizer step, however many batches it accumulates: one move of the momentum towers when it begins (the
    original's order) and one enqueue of the keys of all its batches and all processes when it ends, so that the keys
    of a step never serve as their own negatives.
    """

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move the momentum towers towards the query towers."""
        kwargs["model"].update_momentum()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Move the keys of this step into the queue."""
        model = kwargs["model"]
        if model.has_waiting_keys:  # not where all batches of the step were left out
            model.queue.enqueue(*model.pop_keys())


__all__ = ["MomentumQueueCallback"]
