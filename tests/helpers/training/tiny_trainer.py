"""A tiny BriVL in the Trainer of the training scripts."""

from typing import Any

import torch
from helpers.brivl.tiny import images, texts, tiny_config
from helpers.perturb import perturb
from torch.utils.data import Dataset
from transformers import TrainingArguments
from wenlan.modeling_brivl import BriVLForPreTraining, MomentumQueueCallback
from wenlan.training.checkpoints.atomic_trainer import AtomicCheckpointTrainer


class NoisyPairs(Dataset):
    """Pairs whose pixels get noise that depends on epoch and index alone, as augmentation does."""

    def __init__(self, count):
        self.columns = {"input_ids": texts(count), "pixel_values": images(count), "group_ids": torch.arange(count)}
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self):
        return len(self.columns["input_ids"])

    def __getitem__(self, index):
        row = {name: column[index] for name, column in self.columns.items()}
        generator = torch.Generator().manual_seed(1000 * self.epoch.item() + index)
        noise = torch.randn(row["pixel_values"].shape, generator=generator)
        return row | {"pixel_values": row["pixel_values"] + 0.5 * noise}

    def set_epoch(self, epoch):
        self.epoch.fill_(epoch)


def build_trainer(folder, *callbacks, dataset=None, config=None, data_collator=None, **arguments):
    """Returns a trainer of the same weights each time, with dropout and batch norms that train."""
    torch.manual_seed(0)
    sizes = {"vision": {"hidden_dropout_prob": 0.1}, "momentum": 0.5} | (config or {})
    model = perturb(BriVLForPreTraining(tiny_config(**sizes)))
    model.reset_momentum_towers()
    defaults: dict[str, Any] = {
        "per_device_train_batch_size": 4,
        "max_steps": 4,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "save_steps": 2,
    }
    args = TrainingArguments(folder, use_cpu=True, report_to="none", disable_tqdm=True, **(defaults | arguments))
    return AtomicCheckpointTrainer(
        model,
        args,
        train_dataset=dataset or NoisyPairs(14),
        eval_dataset=NoisyPairs(4),
        data_collator=data_collator,
        callbacks=[MomentumQueueCallback(), *callbacks],
    )
