"""Trains a tiny BriVL with the Trainer on the processes of a group; `test_many_ranks.py` compares the runs."""

import os

import torch
import torch.distributed as dist
from helpers.brivl.tiny import images, texts, tiny_config
from helpers.perturb import perturb
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments, default_data_collator
from transformers.models.bert.modeling_bert import BertLayer
from wenlan.modeling_brivl import BriVLForPreTraining, MomentumQueueCallback
from wenlan.modeling_brivl.momentum_queue import NO_GROUP, gather_rows, gather_text_groups
from wenlan.modeling_brivl.pooled_encoder import BriVLEncoderLayer

GLOBAL_BATCH, STEPS, PAIRS = 6, 100, 30
SETTINGS = {
    "queue": {},
    "in_batch": {"in_batch_negatives": True},
    "chunks": {"in_batch_negatives": True, "contrastive_chunk_size": 2},
    "several_texts": {"in_batch_negatives": True, "group_positives": True},
}


class Pairs(Dataset):
    def __init__(self):
        self.columns = {"input_ids": texts(PAIRS), "pixel_values": images(PAIRS), "group_ids": torch.arange(PAIRS)}

    def __len__(self):
        return PAIRS

    def __getitem__(self, i):
        return {name: column[i] for name, column in self.columns.items()}


class SeveralTexts(Pairs):
    """Two texts a pair; some are true of the next pair, too, and one rank may hold none of these."""

    def __init__(self):
        super().__init__()
        self.columns["input_ids"] = texts(2 * PAIRS).view(PAIRS, 2, -1)

    @staticmethod
    def collate(rows):
        batch = torch.utils.data.default_collate(rows)
        batch["input_ids"] = batch["input_ids"].flatten(0, 1)
        groups = batch["group_ids"].repeat_interleave(2)[:, None]
        if (groups % 2 == 0).any():
            others = torch.where(groups % 4 == 0, groups + 1, NO_GROUP)
            batch["text_group_ids"] = torch.cat([groups, others], dim=1)
        return batch


class FirstStep(TrainerCallback):
    """Keeps the gradients of the first step, and all losses."""

    def __init__(self, model):
        self.gradients: dict[str, torch.Tensor] | None = None
        self.losses: list[torch.Tensor] = []
        model.register_forward_hook(lambda module, args, output: self.losses.append(output.loss.detach()))

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        if self.gradients is None:
            self.gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def build_model(**settings):
    torch.manual_seed(0)
    vision = {"train_batch_norm": False, "trainable_backbone": ["blocks.3", "blocks.4"]}
    text = {"trainable_backbone": ["layer.1"]}
    model = perturb(BriVLForPreTraining(tiny_config(vision, text, queue_size=32, momentum=0.9, **settings)))
    model.reset_momentum_towers()
    return model


def train(settings, folder, steps):
    model = build_model(**settings)
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
    several = settings is SETTINGS["several_texts"]
    collate = SeveralTexts.collate if several else default_data_collator
    pairs, callbacks = SeveralTexts() if several else Pairs(), [MomentumQueueCallback(), first_step]
    Trainer(model, args, train_dataset=pairs, data_collator=collate, callbacks=callbacks).train()
    losses = torch.stack(first_step.losses)
    dist.all_reduce(losses)
    return {
        "loss": losses / dist.get_world_size(),
        "gradients": first_step.gradients,
        "queue": model.queue.state_dict(),
        "momentum": model.momentum_text_model.state_dict(),
    }


def train_sharded(steps):
    """Returns losses and queue of a plain loop over a model whose query and momentum towers are sharded by FSDP2."""
    model = build_model()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for module in model.modules():
        if isinstance(module, BriVLEncoderLayer | BertLayer):
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)
    assert isinstance(model.momentum_text_model.encoder.fc1.weight, DTensor)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    losses, size = [], GLOBAL_BATCH // dist.get_world_size()
    for step in range(steps):
        first = step * GLOBAL_BATCH + dist.get_rank() * size
        batch = torch.utils.data.default_collate([Pairs()[i] for i in range(first, first + size)])
        model.update_momentum()
        loss = model.train()(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        model.queue.enqueue(*model.pop_keys())
        losses.append(loss.detach())
    mean = torch.stack(losses)
    dist.all_reduce(mean)
    return {"loss": mean / dist.get_world_size(), "queue": model.queue.state_dict()}


def main(folder):
    torch.set_num_threads(1)
    results = {name: train(settings, folder, STEPS if name == "queue" else 3) for name, settings in SETTINGS.items()}
    results["fsdp2"] = train_sharded(steps=3)
    rank = dist.get_rank()
    rows = torch.arange(3 * (rank + 1)).view(-1, 3) + 100 * rank  # one row on rank 0, two on rank 1
    results["uneven"] = gather_rows(rows)
    results["uneven_groups"] = gather_text_groups(torch.full((1, 1 + rank), rank))
    results["world_size"] = dist.get_world_size()
    torch.save(results, folder / f"rank{rank}.pt")
    dist.destroy_process_group()
