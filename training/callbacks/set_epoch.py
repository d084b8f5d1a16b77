"""A callback that tells a dataset the epoch, so that what it draws is the same in a resumed run."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class SetEpochCallback(TrainerCallback):
    """Call `set_epoch` of the training dataset, or of the one that it wraps, when an epoch begins.

    The Trainer alone does so too, but not after a resume in mid-epoch: augmentation keyed on (seed, epoch, index) would
    then be that of epoch 0.
    """

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Set the epoch; a dataset without `set_epoch` is left alone."""
        datasets = [kwargs["train_dataloader"].dataset]
        while datasets:
            dataset = datasets.pop()
            if hasattr(dataset, "set_epoch"):
                dataset.set_epoch(int(state.epoch))
            else:  # as in torch's Subset and ConcatDataset
                datasets += [dataset.dataset] if hasattr(dataset, "dataset") else getattr(dataset, "datasets", [])


__all__ = ["SetEpochCallback"]
