"""A `Trainer` of MLMM: whole batches come from a sampler, one task a step, and each task is logged on its own."""

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ...data.mlmm.batch_sampler import MLMMBatches
from ..checkpoints.atomic_trainer import AtomicCheckpointTrainer, OrEmpty


class MLMMTrainer(AtomicCheckpointTrainer):
    """Train `MLMMForPreTraining` on the batches of an `MLMMBatches`, which knows number and sizes of all of them.

    `per_device_train_batch_size` has no meaning here: a batch is as large as its sampler makes it.

    Args:
        batches: what a DataLoader takes as `batch_sampler`.
        The rest: as for `Trainer`.
    """

    train_dataset: Dataset

    def __init__(self, model: nn.Module, *args: Any, batches: MLMMBatches, **kwargs: Any) -> None:
        super().__init__(model, *args, **kwargs)
        self.batches = batches
        self.accelerator.even_batches = False  # batches differ in size; their number is a multiple of the ranks
        self._metrics: dict[str, list[Tensor]] = defaultdict(list)  # since the last log

    def get_train_dataloader(self) -> DataLoader:
        """Return the loader of this rank's batches."""
        args = self.args
        loader = DataLoader(
            self.train_dataset,
            batch_sampler=self.batches,
            collate_fn=OrEmpty(self.data_collator),
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory,
            persistent_workers=args.dataloader_persistent_workers,
            prefetch_factor=args.dataloader_prefetch_factor,
        )
        return self.accelerator.prepare(loader)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, *args: Any, **kwargs: Any
    ) -> Tensor | tuple[Tensor, Any]:
        """Return the loss as the parent does, and keep loss and accuracy of the task for the log."""
        loss, outputs = super().compute_loss(model, inputs, True, *args, **kwargs)
        if model.training:
            for kind in ("losses", "accuracies"):
                for task, value in outputs[kind].items():
                    self._metrics[f"{task}_{'loss' if kind == 'losses' else 'accuracy'}"].append(value.detach())
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as the parent does, with the means of each task of this process since the last log."""
        if "loss" in logs:
            logs |= {name: round(torch.stack(values).mean().item(), 4) for name, values in self._metrics.items()}
            self._metrics.clear()
        super().log(logs, start_time)


__all__ = ["MLMMTrainer"]
