"""Trains a tiny BriVL with the Trainer on as many processes as torchrun starts; `test_many_ranks.py` compares the runs.

torchrun --nproc_per_node 2 train_on_ranks.py OUTPUT_DIR
"""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from tiny import perturb, pictures, texts, tiny_config
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments
from wenlan.modeling_brivl import BriVLForPreTraining, MomentumQueueCallback
from wenlan.modeling_brivl.gather_rows import gather_rows

GLOBAL_BATCH, STEPS, PAIRS = 6, 100, 30
SETTINGS = {
    "queue": {},
    "in_batch": {"in_batch_negatives": True},
    "chunks": {"in_batch_negatives": True, "contrastive_chunk_size": 2},
}


class Pairs(Dataset):
    def __init__(self):
        self.columns = {"input_ids": texts(PAIRS), "pixel_values": pictures(PAIRS), "group_ids": torch.arange(PAIRS)}

    def __len__(self):
        return PAIRS

    def __getitem__(self, i):
        return {name: column[i] for name, column in self.columns.items()}


class FirstStep(TrainerCallback):
    """Keeps the gradients of the first step, and all losses."""

    def __init__(self, model):
        self.gradients, self.losses = None, []
        model.register_forward_hook(lambda module, args, output: self.losses.append(output.loss.detach()))

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        if self.gradients is None:
            self.gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def train(settings, folder, steps):
    torch.manual_seed(0)
    vision = {"train_batch_norm": False, "trainable_backbone": ["blocks.3", "blocks.4"]}
    text = {"trainable_backbone": ["layer.1"]}
    model = perturb(BriVLForPreTraining(tiny_config(vision, text, queue_size=32, momentum=0.9, **settings)))
    model.reset_momentum_towers()
    first_step = FirstStep(model)
    args = TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=GLOBAL_BATCH // int(os.environ["WORLD_SIZE"]),
        max_steps=steps,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        optim="sgd",
        max_grad_norm=0,
        train_sampling_strategy="sequential",
        ddp_backend="gloo",
        ddp_find_unused_parameters=False,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    Trainer(model, args, train_dataset=Pairs(), callbacks=[MomentumQueueCallback(), first_step]).train()
    losses = torch.stack(first_step.losses)
    dist.all_reduce(losses)
    return {
        "loss": losses / dist.get_world_size(),
        "gradients": first_step.gradients,
        "queue": model.queue.state_dict(),
        "momentum": model.momentum_text_model.state_dict(),
    }


def main(folder):
    torch.set_num_threads(1)
    results = {name: train(settings, folder, STEPS if name == "queue" else 3) for name, settings in SETTINGS.items()}
    rank = dist.get_rank()
    rows = torch.arange(3 * (rank + 1)).view(-1, 3) + 100 * rank  # one row on rank 0, two on rank 1
    results["uneven"] = gather_rows(rows)
    results["world_size"] = dist.get_world_size()
    torch.save(results, folder / f"rank{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
