"""Kills pre-training with SIGKILL at random moments, resumes it, and compares it with an undisturbed run, bit for bit.

    python benchmarks/kill_resume.py                           # 20 kills, every process a new interpreter: 6 minutes
    python benchmarks/kill_resume.py --kills 3 --method fork   # forked from one that has imported all, as in the tests

Every other kill waits for a checkpoint that is being saved. The runs have augmentation, dropout, batch norm, a queue,
checkpoints in mid-epoch, 0 or 2 DataLoader workers and 1 or 4 batches a step.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from pathlib import Path

SETTINGS = [(2, 4), (0, 1), (2, 1), (0, 4)]  # DataLoader workers, batches a step
STEPS, SAVE_STEPS = 24, 5
COMPARED = [
    "model.safetensors",
    *(f"checkpoint-{STEPS}/{name}" for name in ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth")),
]
TOWER = {"projection_dim": 24, "num_hidden_layers": 1, "intermediate_size": 32, "num_attention_heads": 2}
RECIPE = {
    "augmentation": {"rotation_degrees": 15, "scale_range": [0.75, 1.1], "translate_fraction": 0.08},
    "model_config": {
        "vision_config": {
            "backbone": "test_efficientnet",
            "backbone_kwargs": {"channel_multiplier": 0.125, "pad_type": "same", "bn_eps": 1e-3},
            "image_size": 64,
            "hidden_size": 16,
            "grid_scales": [2, 1],
            "stretch_boxes": False,
            **TOWER,
        },
        "text_config": {
            "encoder_config": {
                "model_type": "bert",
                "hidden_size": 20,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "intermediate_size": 28,
                "max_position_embeddings": 40,
            },
            "max_text_length": 20,
            "attend_padding": False,
            **TOWER,
        },
        "queue_size": 13,
        "momentum": 0.9,
    },
    "per_device_train_batch_size": 4,
    "max_steps": STEPS,
    "learning_rate": 1e-3,
    "save_steps": SAVE_STEPS,
    "save_total_limit": 2,
    "logging_steps": 10,
    "remove_unused_columns": False,
    "dataloader_drop_last": True,
    "dataloader_pin_memory": False,
    "report_to": "none",
    "disable_tqdm": True,
    "use_cpu": True,
}


def write_inputs(folder: Path) -> Path:
    """Write a tiny recipe and 37 images of emoji7 with their names; return the recipe."""
    from wenlan.data import load_emoji7

    (folder / "images").mkdir()
    lines = []
    for index, row in enumerate(load_emoji7()["train"].select(range(37))):
        row["image"].save(folder / "images" / f"{index}.png")
        lines.append(json.dumps({"image": f"{index}.png", "text": [row["name_zh"], row["group"]]}, ensure_ascii=False))
    (folder / "images" / "metadata.jsonl").write_text("\n".join(lines), "utf-8")
    recipe = folder / "recipe.yaml"
    recipe.write_text(json.dumps({**RECIPE, "data": str(folder / "images")}), "utf-8")  # JSON is YAML
    return recipe


def train(arguments: list[str], log: Path) -> None:
    """Run the training script in this process; what it prints goes to a file."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    import torch
    from wenlan.training_scripts.pretrain_brivl import main

    multiprocessing.set_start_method(None, force=True)  # DataLoader workers start as they would in a user's run
    torch.set_num_threads(1)
    main(arguments)


class Runs:
    """Start runs of one setting in a folder, undisturbed or killed."""

    def __init__(self, folder: Path, recipe: Path, setting: tuple[int, int], method: str) -> None:
        workers, accumulation = setting
        self.folder, self.log = folder, folder / "log.txt"
        self.context = multiprocessing.get_context(method)
        folder.mkdir()
        self.arguments = [
            *(str(recipe), "--dataloader_num_workers", str(workers)),
            *("--gradient_accumulation_steps", str(accumulation)),
        ]

    def start(self, output: Path, *options: str) -> multiprocessing.Process:
        """Start a run and return when its output folder exists."""
        process = self.context.Process(
            target=train, args=([*self.arguments, "--output_dir", str(output), *options], self.log)
        )
        process.start()
        while process.is_alive() and not output.exists():
            time.sleep(0.001)
        return process

    def finish(self, output: Path, *options: str) -> float:
        """Run to the end; return the seconds from the making of the folder.

        Raises:
            RuntimeError: the run failed; holds what it printed.
        """
        process = self.start(output, *options)
        started = time.monotonic()
        process.join()
        if process.exitcode != 0:
            raise RuntimeError(f"The run ended with {process.exitcode}:\n{self.log.read_text('utf-8')[-3000:]}")
        return time.monotonic() - started

    def kill(self, output: Path, draw: random.Random, seconds: float, *, while_saving: bool) -> str | None:
        """Kill a run at a random moment; return what was there then, None if the run was faster."""
        process = self.start(output)
        started = time.monotonic()
        if while_saving:
            for _ in range(draw.randint(1, STEPS // SAVE_STEPS)):  # this many checkpoints begin
                wait_for(lambda: not saving(output), process)
                wait_for(lambda: saving(output), process)
            time.sleep(draw.uniform(0, 0.03))
        else:
            time.sleep(draw.uniform(0, seconds))
        process.kill()
        process.join()
        if process.exitcode != -9:
            return None
        there = sorted(path.name for path in [*output.glob("checkpoint-*"), *saving(output)])
        return f"{time.monotonic() - started:.2f} s into the run, {', '.join(there) or 'no checkpoint'} there"


def saving(output: Path) -> list[Path]:
    return list(output.glob(".saving-*"))


def wait_for(condition, process: multiprocessing.Process) -> None:
    while process.is_alive() and not condition():
        time.sleep(0.0005)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--method", choices=["spawn", "fork"], default="spawn")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    draw, equal, references = random.Random(args.seed), 0, {}
    if args.method == "fork":
        import wenlan.training_scripts.pretrain_brivl  # noqa: F401  the children have it then
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        recipe = write_inputs(folder)
        for number, setting in zip(range(args.kills), itertools.cycle(SETTINGS), strict=False):
            runs = Runs(folder / str(number), recipe, setting, args.method)
            if setting not in references:
                reference = folder / "reference-{}-{}".format(*setting)
                references[setting] = reference, runs.finish(reference)
            reference, seconds = references[setting]
            output, found, attempt = runs.folder / "0", None, 0
            while found is None:  # the run may be over before the moment comes
                attempt += 1
                output = runs.folder / str(attempt)
                while_saving = (number + number // len(SETTINGS)) % 2 == 0  # in turn within each setting too
                found = runs.kill(output, draw, seconds, while_saving=while_saving)
            runs.finish(output, "--resume")
            different = [x for x in COMPARED if (output / x).read_bytes() != (reference / x).read_bytes()]
            equal += not different
            start = next(
                line for line in runs.log.read_text("utf-8").splitlines() if line.endswith((".", "beginning."))
            )
            workers, accumulation = setting
            print(
                f"{number + 1:2}: {workers} workers, {accumulation} batches a step. Killed {found}. "
                f"{start.replace(str(output) + '/', '')} {'Different: ' + str(different) if different else 'Equal.'}",
                flush=True,
            )
    print(f"{equal} of {args.kills} resumed runs are bit-equal to the undisturbed ones.")
    return 0 if equal == args.kills else 1


if __name__ == "__main__":
    sys.exit(main())
