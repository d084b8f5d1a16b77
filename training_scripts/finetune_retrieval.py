"""Fine-tunes MLMM, or BriVL, to find images by captions and captions by images, and evaluates it: the paper's table 3.

    wenlan finetune-retrieval retrieval_tiny
    wenlan finetune-retrieval retrieval_tiny --setting en --output_dir runs/retrieval_en
    wenlan finetune-retrieval retrieval_tiny --resume                               # goes on, in training and scoring
    wenlan finetune-retrieval retrieval_tiny --init_from runs/retrieval_tiny --evaluate_only true --output_dir runs/more
    torchrun --nproc_per_node 8 -m wenlan.training_scripts.finetune_retrieval retrieval_base

Settings: `en`, one model from English captions; `each`, one model a language, in folders of that name; `all`, one model
from all languages, each as often as the others. Each model is evaluated in all test languages, those of `each` in their
own. Training images that are evaluated on are left out and counted. Scores of all pairs are kept in shards.

The recipes are in `recipes/`; any field of them but dictionaries and lists can be overridden on the command line.
"""

import copy
import json
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from transformers import TrainingArguments

from ..data.files.json_files import write_json
from ..evaluation.tables.paper import paper_reference
from ..training.checkpoints.resume import output_folder
from ..training.mlmm.model import detect_model_type
from ..training.recipe import parse_recipe
from ..training.retrieval.arguments import RetrievalArguments, RetrievalData
from ..training.retrieval.brivl import BriVLRetrieval
from ..training.retrieval.mlmm import MLMMRetrieval
from ..training.retrieval.trainer import RetrievalTrainer
from ..training.run import METRICS, REPORT, Run, RunArguments, refuse_other_run, wait_for_all

ARGUMENTS = (RetrievalArguments, RetrievalData, RunArguments, TrainingArguments)
JOBS = {"mlmm": MLMMRetrieval, "brivl": BriVLRetrieval}
Job = MLMMRetrieval | BriVLRetrieval


def main(argv: Sequence[str] | None = None) -> Path:
    """Train, save and evaluate; return the folder.

    Raises:
        SystemExit: with 143 or 130 if SIGTERM or Ctrl-C ended training, after saving a checkpoint.
        ValueError: the data, the recipe, or the checkpoint to continue from is bad.
    """
    started = time.monotonic()
    own, data, run_args, args = parse_recipe(ARGUMENTS, argv)
    job = open_job(own, data)
    check(job, own, args)
    output_dir, is_first, trainer = output_folder(args), args.process_index == 0, None
    if is_first:
        print("\n".join(job.summary))
    groups = {} if own.evaluate_only else own.groups(job.languages)
    made_of = {name: describe_training(own, data, args, languages) for name, languages in groups.items()}
    for name in groups if run_args.resume else ():
        refuse_other_run(output_dir / name, {"trained": made_of[name]})
    for name, languages in groups.items():
        folder = output_dir / name
        if run_args.resume and is_trained(folder, args.max_steps):
            print(f"{folder} is trained already.")
        else:
            job.report["trained"] = made_of[name]
            trainer = train(job, languages, copy_arguments(args, folder), run_args)
    if trainer is not None:
        wait_for_all(trainer)  # scoring takes long, and one process does it
    if is_first and job.test_languages:
        models = {str(output_dir / name): languages for name, languages in groups.items()}
        if own.setting != "each" or own.evaluate_only:
            models = dict.fromkeys(models or [own.init_from], job.test_languages)
        evaluate(job, own, models, args, started)
    if is_first:
        print(f"\nModels: {', '.join(str(output_dir / name) for name in groups) or own.init_from}.")
    return output_dir


def open_job(own: RetrievalArguments, data: RetrievalData) -> Job:
    """Return data and settings of the kind of model that is in the folder.

    Raises:
        ValueError: it is neither an MLMM nor a BriVL, or there is none.
    """
    kind = detect_model_type(own.init_from)
    if kind not in JOBS:
        raise ValueError(f"{own.init_from} holds a model of type {kind!r}; give an MLMM or a BriVL.")
    return JOBS[kind](own, data)


def check(job: Job, own: RetrievalArguments, args: TrainingArguments) -> None:
    """Raise ValueError for what would fail only after training."""
    tested = set(job.test_languages)
    if own.evaluate_only:
        if not tested:
            raise ValueError("Give test_captions, and test_regions for an MLMM, to evaluate on.")
        return
    if not job.languages:
        raise ValueError("Give captions, and regions for an MLMM, to train on; or --evaluate_only true.")
    groups = own.groups(job.languages)
    if args.eval_strategy != "no":
        needed = {job.data.choose_validation(languages) for languages in groups.values()}
        if missing := sorted(needed - job.tests.get("validation", {}).keys()):
            raise ValueError(
                f"No validation captions in {', '.join(missing)} to choose the best checkpoint by: give "
                "validation_captions (and validation_regions), or --eval_strategy no --load_best_model_at_end false."
            )
    if own.setting == "each" and tested and (missing := groups.keys() - tested):
        raise ValueError(f"There are no test captions in {', '.join(sorted(missing))}.")


def train(job: Job, languages: Sequence[str], args: TrainingArguments, run_args: RunArguments) -> RetrievalTrainer:
    """Train a model for some languages and save it into `args.output_dir`."""
    run = Run(args, run_args)
    trainer = job.train(languages, args, callbacks=run.callbacks)
    if run.is_main:
        print(f"Trains on {len(trainer.train_dataset)} captions in {', '.join(languages)}; {run.output_dir}")
        write_json(run.output_dir / REPORT, job.report)
    run.train(trainer, trainer.data_collator.bad_rows)
    run.save(trainer, job.processor, part=job.saved_part)
    return trainer


def evaluate(
    job: Job, own: RetrievalArguments, models: dict[str, list[str]], args: TrainingArguments, started: float
) -> None:
    """Print the recalls of saved models on the test images, and write them to `metrics.json`."""
    output_dir, tests = output_folder(args), job.tests["test"]
    recalls: dict[str, dict[str, float]] = {}
    blind: dict[str, dict[str, float]] = {}
    for folder, languages in models.items():
        model = job.open(folder).to(args.device)
        for language in languages:
            recalls[language] = job.evaluate(model, "test", language, folder=output_dir / "scores")
            if own.without_regions and job.kind == "mlmm" and language == languages[0]:
                blind[language] = job.evaluate(model, "test", language, folder=output_dir / "scores", blind=True)
    metrics = {
        "model_type": job.kind,
        "model": own.init_from,
        "package": f"wenlan {version('wenlan')}",
        "seed": args.seed,
        "setting": None if own.evaluate_only else own.setting,
        "folds": job.data.test_folds,
        "images": {language: len(test.images) for language, test in tests.items()},
        "captions": {language: len(test.texts) for language, test in tests.items()},
        "left_out_of_training": job.leaked,
        "recalls": recalls,
        "without_regions": blind,
    }
    if others := [row["mean_recall"] for language, row in recalls.items() if language != "en"]:
        metrics["mean_recall_of_other_languages"] = sum(others) / len(others)
        chances = [row["chance_mean_recall"] for language, row in recalls.items() if language != "en"]
        metrics["chance_of_other_languages"] = sum(chances) / len(chances)
    metrics |= {"wall_seconds": round(time.monotonic() - started, 1), "comparable": False}
    metrics["paper_reference"] = paper_reference(3)
    write_json(output_dir / METRICS, metrics)
    print(describe(metrics))
    print(f"All metrics: {output_dir / METRICS}")


def describe(metrics: dict) -> str:
    """Return the metrics as lines, chance beside them."""
    lines = [f"Training images left out, since they are evaluated on: {metrics['left_out_of_training']}"]
    for kind, note in (("recalls", ""), ("without_regions", " with regions of zeros")):
        for language, row in metrics[kind].items():
            numbers = {way: [f"{row[f'{way}_R@{k}']:.1f}" for k in (1, 5, 10)] for way in ("t2i", "i2t")}
            interval = "{:.1f} to {:.1f}, ".format(*row["interval"]) if "interval" in row else ""
            lines.append(
                f"{language}{note}: mean recall {row['mean_recall']:.1f} "
                f"({interval}chance {row['chance_mean_recall']:.1f}); "
                f"R@1, 5, 10: text to image {', '.join(numbers['t2i'])}, back {', '.join(numbers['i2t'])}"
            )
    if "mean_recall_of_other_languages" in metrics:
        lines.append(
            f"mean recall of all languages but en: {metrics['mean_recall_of_other_languages']:.1f} "
            f"(chance {metrics['chance_of_other_languages']:.1f})"
        )
    return "\n".join(lines)


def describe_training(
    own: RetrievalArguments, data: RetrievalData, args: TrainingArguments, languages: Sequence[str]
) -> dict[str, object]:
    """Return what makes a model what it is, the number of steps apart, for `data_report.json`."""
    names = ("init_from", "retrieval_loss", "rank_margin", "num_wrong", "hard_negatives")
    made_of = {"languages": list(languages)} | {name: getattr(own, name) for name in names}
    made_of |= {"regions": data.regions, "captions": data.captions}
    made_of |= {name: getattr(args, name) for name in ("learning_rate", "per_device_train_batch_size", "seed")}
    return made_of | {"epochs": args.num_train_epochs if args.max_steps < 1 else None}


def is_trained(folder: Path, max_steps: int) -> bool:
    """Return whether a folder holds a model that was trained for so many steps; with -1, for its epochs."""
    state = folder / "trainer_state.json"
    if not (folder / "config.json").exists() or not state.exists():
        return False
    found = json.loads(state.read_text("utf-8"))
    return found["global_step"] >= (max_steps if max_steps > 0 else found["max_steps"])


def copy_arguments(args: TrainingArguments, folder: Path) -> TrainingArguments:
    """Return the same arguments with another output folder."""
    args = copy.copy(args)
    args.output_dir = str(folder)
    return args


__all__ = ["ARGUMENTS", "main"]

if __name__ == "__main__":
    main()
