"""Trains every head of MLMM with the Trainer on the processes of a group, with checkpointed layers."""

import torch
import torch.distributed as dist
from helpers.mlmm.tiny import MODELS, labels_for, tiny_batch, tiny_config
from helpers.perturb import perturb
from transformers import Trainer, TrainingArguments


def train(model_class, folder):
    model = perturb(model_class(tiny_config()))
    before = {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}
    batch = tiny_batch() | labels_for(model_class)
    rows = [{name: value[index] for name, value in batch.items()} for index in (0, 1, 2, 0)]
    if "labels" in rows[0]:
        rows[2]["labels"] = rows[0]["labels"]  # a process begins with each: it needs a pair that matches
    args = TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=2,
        max_steps=3,
        gradient_checkpointing=True,
        learning_rate=1e-2,
        train_sampling_strategy="sequential",
        ddp_backend="gloo",
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = Trainer(model, args, train_dataset=rows)
    trainer.train()
    assert trainer.accelerator.ddp_handler.find_unused_parameters is False
    moved = [not torch.equal(value, before[name]) for name, value in model.named_parameters() if name in before]
    return {"state": model.state_dict(), "steps": trainer.state.global_step, "moved": sum(moved) / len(moved)}


def main(folder):
    torch.set_num_threads(1)
    results = {model_class.__name__: train(model_class, folder) for model_class in MODELS[1:]}
    torch.save(results, folder / f"rank{dist.get_rank()}.pt")
    dist.destroy_process_group()
