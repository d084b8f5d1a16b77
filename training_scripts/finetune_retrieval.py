"""Fine-tune MLMM, or BriVL, to find images by captions and captions by images, and evaluates it: the paper's table 3.

    wenlan finetune-retrieval retrieval_tiny
    wenlan finetune-retrieval retrieval_tiny --setting en --output_dir runs/retrieval_en
    wenlan finetune-retrieval retrieval_tiny --resume                               # resumes training and scoring
    wenlan finetune-retrieval retrieval_tiny --init_from runs/retrieval_tiny --evaluate_only true --output_dir runs/more
    torchrun --nproc_per_node 8 -m wenlan.training_scripts.finetune_retrieval retrieval_base

Settings: `en`, one model from English captions; `each`, one model a language, in folders of that name; `all`, one model
from all languages, each as often as the others. Each model is evaluated in all test languages, those of `each` in their
own. Training images that are evaluated on are left out and counted. Scores of all pairs are kept in shards.

The recipes are in `recipes/`; the command line overrides any field, and a key of a dictionary as `--field.key`.
"""

import copy
import json
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from transformers import AutoConfig, TrainingArguments

from ..data.files.json_files import write_json
from ..data.files.model_folder import detect_model_type
from ..evaluation.tables.paper import paper_reference
from ..training.checkpoints.resume import output_folder
from ..training.identity import Identity, describe_run, refuse_other_run
from ..training.recipe import parse_recipe
from ..training.retrieval.arguments import RetrievalArguments, RetrievalData
from ..training.retrieval.brivl import BriVLRetrieval
from ..training.retrieval.job import RetrievalJob
from ..training.retrieval.mlmm import MLMMRetrieval
from ..training.retrieval.report import evaluate_models, format_recalls
from ..training.retrieval.trainer import RetrievalTrainer
from ..training.run import METRICS, REPORT, Run, RunArguments, hold_output_folder, wait_for_all

COMMAND = "wenlan finetune-retrieval"
ARGUMENTS = (RetrievalArguments, RetrievalData, RunArguments, TrainingArguments)
JOBS: dict[str, type[RetrievalJob]] = {"mlmm": MLMMRetrieval, "brivl": BriVLRetrieval}


def main(argv: Sequence[str] | None = None) -> Path:
    """Train, save and evaluate; return the folder.

    Raises:
        SystemExit: with 143 or 130 if SIGTERM or Ctrl-C ended training, after saving a checkpoint.
        ValueError: the data, the recipe, or the checkpoint to continue from is bad.
    """
    arguments = parse_recipe(ARGUMENTS, argv, command=COMMAND)
    with hold_output_folder(arguments[-1]):
        return finetune(*arguments)


def finetune(own: RetrievalArguments, data: RetrievalData, run_args: RunArguments, args: TrainingArguments) -> Path:
    """Train, save and evaluate the models of a setting; return the folder."""
    started = time.monotonic()
    job = open_job(own, data)
    job.check(own, args)
    output_dir, is_first, trainer = output_folder(args), args.process_index == 0, None
    if is_first:
        print("\n".join(job.summary))
    groups = {} if own.evaluate_only else own.groups(job.languages)
    made_of = {name: identify(job, own, args, languages) for name, languages in groups.items()}
    for name in groups if run_args.resume else ():
        if (output_dir / name / REPORT).is_file():
            refuse_other_run(output_dir / name, made_of[name], accept_changes=run_args.accept_changes)
    for name, languages in groups.items():
        folder = output_dir / name
        if run_args.resume and is_trained(folder, args.max_steps):
            print(f"{folder} is trained already.")
        else:
            trainer = train(job, languages, args, run_args, folder, made_of[name])
    if trainer is not None:
        wait_for_all(trainer)  # scoring takes long, and one process does it
    if is_first and job.test_languages:
        models = {str(output_dir / name): languages for name, languages in groups.items()}
        if own.setting != "each" or own.evaluate_only:
            models = dict.fromkeys(models or [own.init_from], job.test_languages)
        facts: dict[str, object] = {
            "model_type": job.kind,
            "model": own.init_from,
            "package": f"wenlan {version('wenlan')}",
        }
        facts |= {"seed": args.seed, "setting": None if own.evaluate_only else own.setting}
        metrics = facts | evaluate_models(job, models, args.device, output_dir / "scores")
        metrics |= {"wall_seconds": round(time.monotonic() - started, 1), "comparable": False}
        write_json(output_dir / METRICS, metrics | {"paper_reference": paper_reference(3)})
        print(f"{format_recalls(metrics)}\nAll metrics: {output_dir / METRICS}")
    if is_first:
        print(f"\nModels: {', '.join(str(output_dir / name) for name in groups) or own.init_from}.")
    return output_dir


def open_job(own: RetrievalArguments, data: RetrievalData) -> RetrievalJob:
    """Return data and settings of the kind of model that is in the folder.

    Raises:
        ValueError: it is neither an MLMM nor a BriVL, or there is none.
    """
    kind = detect_model_type(own.init_from)
    if kind not in JOBS:
        raise ValueError(f"{own.init_from} holds a model of type {kind!r}; give an MLMM or a BriVL.")
    return JOBS[kind](own, data)


def train(
    job: RetrievalJob,
    languages: Sequence[str],
    args: TrainingArguments,
    run_args: RunArguments,
    folder: Path,
    identity: Identity,
) -> RetrievalTrainer:
    """Train a model for some languages and save it into a folder."""
    args = copy.copy(args)
    args.output_dir = str(folder)
    run = Run(args, run_args)
    run.identify(identity)
    trainer = job.train(languages, args, callbacks=run.callbacks)
    if run.is_main:
        print(f"Trains on {len(trainer.train_dataset)} captions in {', '.join(languages)}; {folder}")
        write_json(folder / REPORT, job.report)
    run.train(trainer, trainer.data_collator.bad_rows, max_bad_fraction=job.data.max_bad_fraction)
    run.save(trainer, job.processor, part=job.saved_part)
    return trainer


def identify(job: RetrievalJob, own: RetrievalArguments, args: TrainingArguments, languages: Sequence[str]) -> Identity:
    """Return the identity of the model for some languages."""
    names = ("init_from", "retrieval_loss", "rank_margin", "num_wrong", "hard_negatives")
    settings = {"languages": list(languages)} | {name: getattr(own, name) for name in names}
    model = AutoConfig.from_pretrained(own.init_from)
    tokenizer = job.processor.tokenizer
    return describe_run(args, settings, data=job.describe_data(languages), model=model, tokenizer=tokenizer)


def is_trained(folder: Path, max_steps: int) -> bool:
    """Return True if a folder holds a model that was trained for so many steps; with -1, for its epochs."""
    state = folder / "trainer_state.json"
    if not (folder / "config.json").exists() or not state.exists():
        return False
    found = json.loads(state.read_text("utf-8"))
    return found["global_step"] >= (max_steps if max_steps > 0 else found["max_steps"])


__all__ = ["ARGUMENTS", "main"]

if __name__ == "__main__":
    main()
