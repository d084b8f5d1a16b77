"""Trains on two ranks, once undisturbed and once with mishaps on rank 1; `test_interrupt_on_ranks.py` compares.

Rank 1 meets a full disk at step 2, NaN at step 3 (in both runs), and SIGTERM at step 4. Then both go on to step 6.
"""

import json
import resource
import signal
from pathlib import Path

import torch.distributed as dist
from helpers.training.tiny_trainer import NoisyPairs, build_trainer
from transformers import TrainerCallback
from wenlan.training.callbacks.set_epoch import SetEpochCallback
from wenlan.training.callbacks.skip_non_finite import NonFiniteGuard
from wenlan.training.callbacks.stop_on_signal import train_until_signal
from wenlan.training.checkpoints.resume import resolve_resume_checkpoint


class NaNRow(NoisyPairs):
    """Row 9 is NaN: batches of two in order, so that rank 1 has it at step 3."""

    def __getitem__(self, index):
        row = super().__getitem__(index)
        return row | {"pixel_values": row["pixel_values"] * float("nan")} if index == 9 else row


class Mishaps(TrainerCallback):
    def __init__(self):
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, self.before[1]))

    def on_save(self, args, state, control, **kwargs):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        if state.global_step == 3:
            signal.raise_signal(signal.SIGTERM)


def train(folder, *callbacks, resume=False):
    guard = NonFiniteGuard()
    arguments = {"max_steps": 6, "save_steps": 2, "per_device_train_batch_size": 2, "ddp_backend": "gloo"}
    trainer = build_trainer(
        folder,
        guard,
        SetEpochCallback(),
        *callbacks,
        dataset=NaNRow(20),
        train_sampling_strategy="sequential",
        **arguments,
    )
    code: int | str | None = 0
    try:
        train_until_signal(trainer, resolve_resume_checkpoint(trainer.args, resume=resume))
    except SystemExit as stop:
        code = stop.code
    finite = all(x.isfinite().all() for x in trainer.model.state_dict().values())
    return {
        "step": trainer.state.global_step,
        "code": code,
        "failed_saves": trainer.failed_saves,
        "skipped_steps": guard.skipped_steps,
        "finite": bool(finite),
        "checkpoints": sorted(path.name for path in Path(folder).iterdir()),
    }


def main(folder):
    whole = train(folder / "whole")
    rank = dist.get_rank()
    stopped = train(folder / "broken", *([Mishaps()] if rank == 1 else []))
    resumed = train(folder / "broken", resume=True)
    results = {"world_size": dist.get_world_size(), "whole": whole, "stopped": stopped, "resumed": resumed}
    (folder / f"rank{rank}.json").write_text(json.dumps(results), "utf-8")
    dist.destroy_process_group()
