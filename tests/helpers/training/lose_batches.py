"""Trains on pairs of which every third makes no batch; on the ranks of a group compares their weights."""

import torch
from accelerate.utils import gather
from helpers.training.tiny_trainer import build_trainer
from torch.utils.data import default_collate
from wenlan.data.rows.report import EmptyBatchError


def collate(rows):
    """Collates what is usable."""
    usable = [row for row in rows if row["group_ids"] % 3]
    if not usable:
        raise EmptyBatchError
    return default_collate(usable)


def train_with_losses(folder, **arguments):
    """Returns the trainer after four steps of two batches of one pair; some steps have none."""
    sizes = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2, "save_strategy": "no"}
    trainer = build_trainer(folder, data_collator=collate, train_sampling_strategy="sequential", **sizes | arguments)
    trainer.train()
    return trainer


def main(folder):
    """Trains on each rank and compares the weights."""
    trainer = train_with_losses(folder, ddp_backend="gloo")
    state = trainer.accelerator.unwrap_model(trainer.model).state_dict()
    for name, value in state.items():
        if not name.startswith("queue") and value.is_floating_point() and "running" not in name:
            first, *others = gather(value.flatten()[None])
            assert all(torch.equal(first, other) for other in others), name
    trainer.accelerator.end_training()
