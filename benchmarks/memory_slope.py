"""How resident memory grows over a long pre-training run: MB per 1,000 steps, by a line fitted after the warm-up.

    python benchmarks/memory_slope.py                  # 20,000 steps
    python benchmarks/memory_slope.py --steps 2000 --warm-up 500

The run is that of `wenlan pretrain-brivl`: images decoded and augmented, momentum towers, queue, guard, logging, and
a checkpoint every 2,000 steps.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import psutil
import torch
from kill_resume import RECIPE, write_inputs
from transformers import TrainerCallback, trainer
from wenlan.training_scripts.pretrain_brivl import main as pretrain

SAMPLE_STEPS = 100


class MemorySamples(TrainerCallback):
    """Keeps (step, MB of resident memory)."""

    samples: list[tuple[int, float]] = []

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step % SAMPLE_STEPS == 0:
            self.samples.append((state.global_step, psutil.Process().memory_info().rss / 1e6))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--warm-up", type=int, default=2_000, help="steps before the line begins")
    args = parser.parse_args()
    torch.set_num_threads(1)
    trainer.DEFAULT_CALLBACKS.append(MemorySamples)  # every Trainer has them
    with tempfile.TemporaryDirectory() as folder:
        recipe = write_inputs(Path(folder))
        options = {"max_steps": args.steps, "save_steps": 2_000, "logging_steps": 500}
        pretrain([str(recipe), "--output_dir", f"{folder}/run", *(f"--{k}={v}" for k, v in options.items())])
    steps, megabytes = np.array([s for s in MemorySamples.samples if s[0] >= args.warm_up]).T
    slope, _ = np.polyfit(steps, megabytes, 1)
    print(
        f"{args.steps} steps of {RECIPE['per_device_train_batch_size']} pairs: {megabytes[0]:.1f} MB at step "
        f"{steps[0]:.0f}, {megabytes[-1]:.1f} MB at the end, {megabytes.max():.1f} MB at most. "
        f"Slope {1000 * slope:.3f} MB per 1,000 steps."
    )


if __name__ == "__main__":
    main()
