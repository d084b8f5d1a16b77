"""Kills a command with SIGKILL at random moments, resumes it, and compares all its files with an unbroken run's.

    python benchmarks/kill_resume.py --command pretrain-brivl              # 20 kills, each process a new interpreter
    python benchmarks/kill_resume.py --command all --kills 20 --method fork    # forked from one that has imported all

Every other kill waits for a file that is being saved. Models and data are tiny (from `tests/helpers`); a training run
has augmentation or dropout, checkpoints in mid-epoch, 0 or 2 DataLoader workers and 1 or 3 batches a step. Every file
counts, bit by bit, but for the times that JSON files report.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # ROOT first: tests/wenlan must not pass for the package

VARIANTS = [(2, 3), (0, 1), (2, 1), (0, 3)]  # DataLoader workers, batches a step
TIMES = re.compile(rb'"(wall_seconds|\w+_(runtime|per_second))": [\d.e+-]+')
TOWER = {"projection_dim": 24, "num_hidden_layers": 1, "intermediate_size": 32, "num_attention_heads": 2}
ENCODER = {"model_type": "bert", "hidden_size": 20, "num_hidden_layers": 1, "num_attention_heads": 2}
ENCODER |= {"intermediate_size": 28, "max_position_embeddings": 40}
REGIONS = {"image_size": 64, "hidden_size": 16, "grid_scales": [2, 1], "stretch_boxes": False}
RECIPE = {
    "augmentation": {"rotation_degrees": 15, "scale_range": [0.75, 1.1], "translate_fraction": 0.08},
    "model_config": {
        "vision_config": {
            "backbone": "test_efficientnet",
            "backbone_kwargs": {"channel_multiplier": 0.125, "pad_type": "same", "bn_eps": 1e-3},
            **REGIONS,
            **TOWER,
        },
        "text_config": {
            "encoder_config": ENCODER,
            "max_text_length": 20,
            "attend_padding": False,
            **TOWER,
        },
        "queue_size": 13,
        "momentum": 0.9,
    },
    "per_device_train_batch_size": 4,
    "max_steps": 24,
    "learning_rate": 1e-3,
    "save_steps": 5,
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


SHORT = {"max_steps": 12, "save_strategy": "steps", "save_steps": 3, "save_total_limit": 2, "logging_steps": 2}
SHORT |= {"use_cpu": True, "disable_tqdm": True, "eval_strategy": "no", "load_best_model_at_end": False}


@dataclass(frozen=True)
class Job:
    """A command of `wenlan` that writes below {output}; a training script also takes the options of VARIANTS."""

    arguments: list[str]
    resume: tuple[str, ...] = ()

    @property
    def variants(self) -> list[tuple[int, int] | None]:
        return list(VARIANTS) if self.resume else [None]


def training(command: str, recipe: str, **options: object) -> Job:
    """Return a training run."""
    plain = {name: json.dumps(value) if isinstance(value, bool) else value for name, value in options.items()}
    words = [f"--{name}={value}" for name, value in plain.items()]
    return Job([command, recipe, *words, "--output_dir", "{output}"], ("--resume",))


def brivl(folder: Path, **options: object) -> Job:
    return training("pretrain-brivl", str(write_inputs(folder)), **SHORT, **options)


def brivl_cached(folder: Path) -> Job:
    """Both encoders are frozen whole, and what they make of images and texts is computed once a process."""
    frozen = {f"model_config.{tower}_config.trainable_backbone": [] for tower in ("vision", "text")}
    return brivl(folder, **frozen, cached_views=2, cached_texts=1, token_dropout=0.2)


def brivl_stream(folder: Path) -> Job:
    import pyarrow as pa
    from pyarrow import parquet

    recipe, images = write_inputs(folder), folder / "images"
    rows = [json.loads(line) for line in (images / "metadata.jsonl").read_text("utf-8").splitlines()]
    (folder / "shards").mkdir()
    for number in range(2):
        part = [{"image": (images / row["image"]).read_bytes(), "text": row["text"]} for row in rows[number::2]]
        parquet.write_table(pa.Table.from_pylist(part), folder / "shards" / f"{number}.parquet")
    return training("pretrain-brivl", str(recipe), **SHORT, data=folder / "shards", streaming=True, shuffle_buffer=8)


def corpora(folder: Path) -> dict[str, object]:
    from helpers.mlmm.corpus_files import write_corpus

    train, test = write_corpus(folder / "train", 24), write_corpus(folder / "test", 8, first=200)
    return dict(zip(("regions", "captions", "test_regions", "test_captions"), (*train, *test), strict=True))


def mlmm(folder: Path) -> Job:
    from helpers.training.recipes import SMALL_MLMM, write_recipe

    changes = {"detector": None, "curriculum": None, "token_budget": 256, "test_examples": 2}
    changes["model_config"] = SMALL_MLMM | {"hidden_dropout_prob": 0.1}
    recipe = write_recipe(folder / "recipe.yaml", "mlmm_tiny", **corpora(folder), **changes)
    return training("pretrain-mlmm", recipe, **SHORT)


def retrieval(folder: Path, **options: object) -> Job:
    from helpers.finetuning.retrieval_models import save_pretrained_mlmm
    from helpers.training.recipes import write_recipe

    changes = {"init_from": save_pretrained_mlmm(folder / "model", hidden_dropout_prob=0.1)}
    changes |= {"per_device_train_batch_size": 4, "hard_negatives": {"pool": 3, "keep": 1}}
    recipe = write_recipe(folder / "recipe.yaml", "retrieval_tiny", **corpora(folder), **changes)
    return training("finetune-retrieval", recipe, **SHORT, **options)


def scoring(folder: Path) -> Job:
    job = retrieval(folder, evaluate_only=True, scoring_batch_size=4)
    return Job(job.arguments)


def vqa(folder: Path) -> Job:
    from helpers.finetuning.vqa_sample import write_sample
    from helpers.training.recipes import write_recipe

    fields = write_sample(folder / "sample") | {"per_device_train_batch_size": 4, "with_control": False}
    return training("finetune-vqa", write_recipe(folder / "recipe.yaml", "vqa_tiny", **fields), **SHORT)


def detector(folder: Path) -> Job:
    from helpers.training.recipes import write_recipe

    changes = {"scenes": "8", "scene_options": {"num_classes": 16, "canvas": 128}, "per_device_train_batch_size": 2}
    changes["model_config"] = {"fpn_channels": 8, "rpn_channels": 8, "pooler_size": 3, "fc_dim": 16}
    changes["image_processor"] = {"size": {"shortest_edge": 128, "longest_edge": 128}}
    return training("train-detector", write_recipe(folder / "recipe.yaml", "detector_tiny", **changes), **SHORT)


def regions(folder: Path) -> Job:
    from helpers.regions.images import save_detector, save_images

    save_images(folder / "images", 60)
    options = ["--min-boxes", "4", "--max-boxes", "8", "--shard-size", "5", "--model", save_detector(folder / "model")]
    return Job(["extract-regions", str(folder / "images"), "--output", "{output}", *options])


def imported(folder: Path) -> Job:
    from helpers.mlmm.corpus_files import draw_classes, region_row
    from wenlan.data.regions.feature_formats import write_bua_npz

    for number in range(200):
        write_bua_npz(folder / "npz" / f"{number}.npz", region_row(f"{number}.jpg", draw_classes(number), seed=number))
    return Job(["import-regions", str(folder / "npz"), "--output", "{output}", "--shard-size", "5"])


def translation(folder: Path) -> Job:
    from helpers.training.tiny_translators import english_captions, save_nllb_of_words

    rows = [{"image": f"{number}.png", "text": text} for number, text in enumerate(english_captions(200))]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    options = ["--model", save_nllb_of_words(folder / "model"), "--languages", "de", "--shard-size", "10"]
    return Job(["translate-captions", str(folder / "pairs.jsonl"), "--output", "{output}", *options])


def embedding(folder: Path) -> Job:
    from helpers.brivl.tiny_folder import save_tiny_folder
    from helpers.regions.images import save_images

    save_tiny_folder(folder / "model")
    save_images(folder / "images", 120)
    options = ["--batch-size", "4", "--shard-size", "8"]
    return Job(["embed", str(folder / "model"), str(folder / "images"), "--output", "{output}/x.parquet", *options])


def cleaning(folder: Path) -> Job:
    from helpers.mlmm.folder import noise_image

    (folder / "images").mkdir()
    lines = []
    for number in range(150):
        noise_image(number, 256, 256).save(folder / "images" / f"{number}.png")
        lines.append(json.dumps({"image": f"{number}.png", "text": f"第{number}张彩色的小图片"}, ensure_ascii=False))
    (folder / "images" / "metadata.jsonl").write_text("\n".join(lines), "utf-8")
    return Job(["data", "clean", str(folder / "images" / "metadata.jsonl"), "--output", "{output}"])


JOBS: dict[str, Callable[[Path], Job]] = {
    "pretrain-brivl": brivl,
    "pretrain-brivl-cached": brivl_cached,
    "pretrain-brivl-stream": brivl_stream,
    "pretrain-mlmm": mlmm,
    "finetune-retrieval": retrieval,
    "finetune-vqa": vqa,
    "train-detector": detector,
    "score": scoring,
    "extract-regions": regions,
    "import-regions": imported,
    "translate-captions": translation,
    "embed": embedding,
    "data-clean": cleaning,
}


def redirect(log: Path) -> None:
    """Send what this process prints to a file."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def prepare(name: str, folder: Path, log: Path) -> None:
    """Write a job and its inputs in a process of its own: one that has run torch or arrow is no good to fork from."""
    redirect(log)
    job = JOBS[name](folder)
    (folder / "job.json").write_text(json.dumps([job.arguments, job.resume]), "utf-8")


def run_command(arguments: list[str], log: Path) -> None:
    """Run `wenlan` in this process."""
    redirect(log)
    import torch

    from wenlan.cli.main import app

    multiprocessing.set_start_method(None, force=True)  # DataLoader workers start as they would in a user's run
    torch.set_num_threads(1)
    sys.argv = ["wenlan", *arguments]
    app(arguments)


class Runs:
    """The runs of one job with one variant, all in the same folder: some files hold its name."""

    def __init__(self, folder: Path, job: Job, variant: tuple[int, int] | None, method: str) -> None:
        self.output, self.log, self.job = folder / "out", folder / "log.txt", job
        self.reference = folder / "-".join(map(str, ["reference", *(variant or ())]))
        self.arguments = [word.replace("{output}", str(self.output)) for word in job.arguments]
        if variant is not None:
            workers, accumulation = map(str, variant)
            self.arguments += ["--dataloader_num_workers", workers, "--gradient_accumulation_steps", accumulation]
        self.context = multiprocessing.get_context(method)
        self.seconds = self.finish()
        self.output.rename(self.reference)
        self.expected = dict(read_files(self.reference))

    def start(self, *options: str) -> multiprocessing.Process:
        process = self.context.Process(target=run_command, args=([*self.arguments, *options], self.log))
        process.start()
        return process

    def finish(self, *options: str) -> float:
        """Run to the end; return the seconds from when the folder was there.

        Raises:
            RuntimeError: the run failed; holds what it printed.
        """
        process = self.start(*options)
        wait_for(self.output.exists, process)
        started = time.monotonic()
        process.join()
        if process.exitcode != 0:
            raise RuntimeError(f"The run ended with {process.exitcode}:\n{self.log.read_text('utf-8')[-3000:]}")
        return time.monotonic() - started

    def kill(self, draw: random.Random, *, while_saving: bool) -> bool:
        """Kill a run at a random moment; return False if it was faster, and then remove what it wrote."""
        process = self.start()
        wait_for(self.output.exists, process)
        if while_saving:
            for _ in range(draw.randint(1, 4)):  # this many saves begin
                wait_for(lambda: not self.is_saving(), process)
                wait_for(self.is_saving, process)
            time.sleep(draw.uniform(0, 0.03))
        else:
            time.sleep(draw.uniform(0, self.seconds))
        process.kill()
        process.join()
        if process.exitcode == -9:
            return True
        shutil.rmtree(self.output, ignore_errors=True)
        return False

    def is_saving(self) -> bool:
        names = (name for _, *names in os.walk(self.output) for name in itertools.chain(*names))
        return any(name.startswith(".saving-") for name in names)

    def compare(self) -> list[str]:
        """Return the files that are not those of the unbroken run; remove what this one wrote."""
        found = dict(read_files(self.output))
        shutil.rmtree(self.output)
        names = found.keys() | self.expected.keys()
        return sorted(name for name in names if found.get(name) != self.expected.get(name))


def read_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of all files; of JSON without the times it took."""
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            yield path.relative_to(folder).as_posix(), TIMES.sub(b"", content) if path.suffix == ".json" else content


def wait_for(condition: Callable[[], bool], process: multiprocessing.Process) -> None:
    while process.is_alive() and not condition():
        time.sleep(0.0005)


def check(name: str, folder: Path, *, kills: int, method: str, draw: random.Random) -> int:
    """Kill and resume a command so many times; print each and return how many ended equal."""
    folder.mkdir()
    context = multiprocessing.get_context(method)
    preparing = context.Process(target=prepare, args=(name, folder, folder / "log.txt"))
    preparing.start()
    preparing.join()
    if preparing.exitcode != 0:
        raise RuntimeError((folder / "log.txt").read_text("utf-8")[-3000:])
    arguments, resume = json.loads((folder / "job.json").read_text("utf-8"))
    job, equal = Job(arguments, tuple(resume)), 0
    runs: dict[tuple[int, int] | None, Runs] = {}
    for number, variant in zip(range(kills), itertools.cycle(job.variants), strict=False):
        if variant not in runs:
            runs[variant] = Runs(folder, job, variant, method)
        run, tries = runs[variant], 1
        while not run.kill(draw, while_saving=(number + number // len(VARIANTS)) % 2 == 0 and tries < 5):
            tries += 1
        run.finish(*job.resume)
        different = run.compare()
        equal += not different
        setting = "" if variant is None else "{} workers, {} batches a step: ".format(*variant)
        print(f"{name} {number + 1}: {setting}{f'different: {different}' if different else 'equal'}", flush=True)
    return equal


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--command", choices=["all", *JOBS], nargs="+", default=["pretrain-brivl"])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--method", choices=["spawn", "fork"], default="spawn")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # of spawned processes
    names = list(JOBS) if "all" in args.command else args.command
    if args.method == "fork":
        import helpers.finetuning.vqa_sample  # noqa: F401  the children have it then
        import wenlan.training_scripts.finetune_retrieval
        import wenlan.training_scripts.pretrain_brivl  # noqa: F401
    rows = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            draw = random.Random(args.seed)
            equal = check(name, Path(folder) / "runs", kills=args.kills, method=args.method, draw=draw)
            rows.append((name, equal, time.monotonic() - started))
    print("\n| command | bit-equal after a kill | seconds |\n|---|---|---|")
    for name, equal, seconds in rows:
        print(f"| {name} | {equal} of {args.kills} | {seconds:.0f} |")
    return 0 if all(equal == args.kills for _, equal, _ in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
