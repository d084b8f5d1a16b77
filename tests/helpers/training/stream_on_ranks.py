"""Trains on a stream with the Trainer on the processes of a group; `test_stream_training.py` looks at it."""

import json
from pathlib import Path

import torch
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments
from wenlan.data import StreamedPairs
from wenlan.training.callbacks.stream_per_rank import prepare_streaming


class Listing(nn.Module):
    """Learns nothing, and lists the numbers that it is given."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen = []

    def forward(self, numbers):
        self.seen.append(numbers.tolist())
        return {"loss": self.weight.sum()}


def main(shards, folder, workers, steps, with_callback):
    args = TrainingArguments(
        folder,
        use_cpu=True,
        max_steps=int(steps),
        per_device_train_batch_size=3,
        dataloader_num_workers=int(workers),
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    callback = prepare_streaming(args)
    pairs = StreamedPairs(shards, rank=args.process_index, world_size=args.world_size, shuffle_buffer=5, endless=True)
    collator = lambda rows: {"numbers": torch.tensor([int(row["text"]) for row in rows])}  # noqa: E731
    callbacks: list[TrainerCallback] = [callback] if with_callback == "yes" else []
    model = Listing()
    trainer = Trainer(model, args, train_dataset=pairs, data_collator=collator, callbacks=callbacks)
    trainer.train()
    result = {"world_size": args.world_size, "batches": model.seen}
    Path(folder, f"rank{args.process_index}.json").write_text(json.dumps(result), "utf-8")
    trainer.accelerator.wait_for_everyone()  # a rank that leaves early takes the other one down
    trainer.accelerator.end_training()
