"""Fine-tunes MLMM to answer questions about images: a folder that `pipeline("wenlan-vqa")` and `wenlan answer` open.

    wenlan data scenes --output runs/scenes --split finetune --split test
    wenlan extract-regions runs/scenes/finetune/images --output runs/scene_regions/finetune --model runs/detector_tiny
    wenlan extract-regions runs/scenes/test/images --output runs/scene_regions/test --model runs/detector_tiny
    wenlan finetune-vqa vqa_tiny
    wenlan finetune-vqa vqa_tiny --resume                                           # resumes after an interruption
    wenlan finetune-vqa vqa_base --init_from runs/vqa_base --predict_only true --output_dir runs/test-dev \\
      --test_questions v2_OpenEnded_mscoco_test-dev2015_questions.json --test_regions regions/test2015

The answers to each file of test questions are written as the test server takes them, `v2_..._results.json`. English
is scored by the official rule of VQA 2.0; a question with a single answer, as in VQA VG Japanese, by equality in
compatibility form (NFKC), and without it beside. The recipes are in `recipes/`.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from transformers import EvalPrediction, TrainingArguments

from ..data.files.json_files import write_json
from ..data.rows.types import QuestionRow
from ..data.vqa.dataset import QuestionFile, Questions
from ..evaluation.tables.paper import paper_reference
from ..evaluation.vqa.report import MajorityBaseline, format_metrics, merge_control, vqa_accuracies, vqa_metrics
from ..processing.processing_mlmm import OWN_FOLDER, MLMMProcessor
from ..training.checkpoints.resume import output_folder
from ..training.mlmm.data import read_info
from ..training.mlmm.model import MLMMArguments, detect_model_type, load_processor
from ..training.recipe import parse_recipe
from ..training.recipe_options import option
from ..training.run import METRICS, REPORT, Run, RunArguments, refuse_other_run, wait_for_all
from ..training.vqa.arguments import QuestionArguments
from ..training.vqa.data import load_test, load_training
from ..training.vqa.model import build_vqa_model, resolve_answers
from ..training.vqa.targets import add_targets
from ..training.vqa.trainer import VQACollator, VQATrainer


@dataclass
class VQAArguments:
    """The model to fine-tune, its head and its control."""

    init_from: str | None = option(
        None, "folder or hub id of an MLMM: a pre-trained one, or one for questions with its own answers"
    )
    detector: str | None = option(None, "folder or hub id of the regions' detector, if the MLMM names none")
    head_lr_factor: float = option(10.0, "the head learns so many times faster")
    prior_bias: bool = option(False, "a new head starts from the frequencies of answers, for short runs")
    answer_embeddings: bool = option(
        False, "the answers of a new head start from the embeddings of their words, likewise"
    )
    question_only: bool = option(False, "a control: regions of zeros in training and test, so nothing is looked at")
    with_control: bool = option(False, "first train that control, in question_only/, and report it beside")
    predict_only: bool = option(False, "answer the test questions, without training")


ARGUMENTS = (VQAArguments, QuestionArguments, RunArguments, TrainingArguments)
CONTROL = "question_only"  # its folder, and its column in the metrics


def main(argv: Sequence[str] | None = None) -> Path:
    """Fine-tune, save, evaluate; return the folder, with the metrics of each language in `metrics.json`.

    Raises:
        SystemExit: with 143 or 130 if SIGTERM or Ctrl-C ended training, after saving a checkpoint.
        ValueError: the data, the recipe, the list of answers, or the checkpoint to continue from is bad.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    vqa_args, _, run_args, args = parse_recipe(ARGUMENTS, argv)
    if vqa_args.with_control and not (vqa_args.question_only or vqa_args.predict_only):
        folder = output_folder(args) / CONTROL
        if not (run_args.resume and all((folder / name).is_file() for name in (METRICS, REPORT))):
            finetune([*argv, "--question_only", "true", "--with_control", "false", "--output_dir", str(folder)])
    trainer = finetune(argv)
    wait_for_all(trainer)
    return output_folder(args)


def finetune(argv: Sequence[str]) -> VQATrainer:
    """Train one model, unless it is only to answer; save and evaluate it; return its trainer."""
    started = time.monotonic()
    vqa_args, question_args, run_args, args = parse_recipe(ARGUMENTS, argv)
    if not vqa_args.init_from:
        raise ValueError("Give init_from: the folder of an MLMM, pre-trained or for questions.")
    if (kind := detect_model_type(vqa_args.init_from)) != "mlmm":
        raise ValueError(f"{vqa_args.init_from} holds a model of type {kind!r}; give an MLMM.")
    args.remove_unused_columns = False  # what a row holds becomes tensors in the collator
    run = Run(args, run_args, trains=not vqa_args.predict_only)
    info = read_info([{"regions": paths} for paths in question_args.folders(predict_only=vqa_args.predict_only)])
    processor = load_processor(MLMMArguments(init_from=vqa_args.init_from), info)
    processor.region_feature_dim = info.feature_dim
    if vqa_args.detector:
        processor.detector = vqa_args.detector
    test = load_test(question_args, processor)
    train = Questions([]) if vqa_args.predict_only else load_training(question_args, processor, test)
    answers = resolve_answers(vqa_args.init_from, question_args, train.files, predict_only=vqa_args.predict_only)
    add_targets(train.files, answers, nfkc=question_args.nfkc_answers)
    control = run.output_dir / CONTROL if vqa_args.with_control and train else None
    report = describe_run(vqa_args, args, train.files, test.files, len(answers))
    if control is not None:
        refuse_other_run(control, report)
    if train and run_args.resume:
        refuse_other_run(run.output_dir, {name: report[name] for name in ("training", "answers", "trained")})
    if run.is_main:
        report_data(train.files, test.files, report, run.output_dir)
    model = build_vqa_model(
        vqa_args.init_from,
        answers,
        [row["targets"] for row in train.rows] if vqa_args.prior_bias else (),
        processor.tokenizer if vqa_args.answer_embeddings else None,
    )
    collator = VQACollator(processor, num_answers=len(answers), question_only=vqa_args.question_only)
    evaluated = test.annotated()
    trainer = VQATrainer(
        model,
        args,
        head_lr_factor=vqa_args.head_lr_factor,
        train_dataset=train or None,
        eval_dataset=evaluated or None,
        data_collator=collator,
        compute_metrics=evaluate(evaluated.rows, answers),
        callbacks=run.callbacks,
    )
    if train:
        run.train(trainer, collator.bad_rows)
        save(run, trainer, processor)
    if test:
        facts = {"model": vqa_args.init_from, "package": f"wenlan {version('wenlan')}", "seed": args.seed}
        facts["question_only"] = vqa_args.question_only
        trainer.compute_metrics = None  # questions without annotation are among these
        best = trainer.predict(test).predictions
        if run.is_main:
            if bad := collator.bad_rows.counts:
                print(f"Images that could not be used, also in the test: {dict(bad)}")
            predictions = [answers[number] for number in np.asarray(best).tolist()]
            write_answers(test.files, predictions, run.output_dir)
            metrics = compute_metrics_of(test, predictions, answers, train, control)
            write_metrics(metrics, facts | {"answers": len(answers)}, time.monotonic() - started, run.output_dir)
    if train and run.is_main:
        print(f"\nThe model is in {run.output_dir}. Next: wenlan answer {run.output_dir} IMAGE --question QUESTION")
    return trainer


def describe_run(
    vqa_args: VQAArguments,
    args: TrainingArguments,
    train: Sequence[QuestionFile],
    test: Sequence[QuestionFile],
    num_answers: int,
) -> dict[str, object]:
    """Return what is trained on and evaluated on, and how: a model and its control share it."""
    own = {name: getattr(vqa_args, name) for name in ("init_from", "head_lr_factor", "prior_bias", "answer_embeddings")}
    trained = own | {name: getattr(args, name) for name in ("learning_rate", "per_device_train_batch_size", "seed")}
    length = {name: getattr(args, name) for name in ("max_steps", "num_train_epochs")}
    files = {"training": [file.to_dict() for file in train], "test": [file.to_dict() for file in test]}
    return json.loads(json.dumps(files | {"answers": num_answers, "trained": trained, "length": length}))


def report_data(
    train: Sequence[QuestionFile], test: Sequence[QuestionFile], report: Mapping[str, object], output_dir: Path
) -> None:
    """Print what there is to train on and to evaluate on, and write the report to `data_report.json`."""
    for title, files in (("Training", train), ("Test", test)):
        print("\n".join([f"{title}:", *(f"  {line}" for file in files for line in str(file).splitlines())]))
    print(f"{report['answers']} answers")
    write_json(output_dir / REPORT, report)


def evaluate(rows: Sequence[QuestionRow], answers: Sequence[str]) -> Callable[[EvalPrediction], dict[str, float]]:
    """Return `compute_metrics` for annotated questions: the official accuracy, by language and answer type."""

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        return vqa_accuracies(rows, [answers[number] for number in np.asarray(prediction.predictions).tolist()])

    return compute_metrics


def save(run: Run, trainer: VQATrainer, processor: MLMMProcessor) -> None:
    """Write the model with its answers, its processor, and the detector if it is a folder here."""
    named = processor.detector or ""
    has_detector = named.startswith(OWN_FOLDER) or Path(named or "?").is_dir()
    if run.is_main and not has_detector:
        print(f"The detector, {processor.detector}, is no folder here, so it is not saved beside the model.")
    run.save(trainer, processor, copy_detector=has_detector)


def write_answers(files: Sequence[QuestionFile], predictions: Sequence[str], output_dir: Path) -> None:
    """Write `v2_OpenEnded_X_results.json` for each file of questions: [{"question_id": int, "answer": str}, ...]."""
    rest = iter(predictions)
    for file in files:
        results = [{"question_id": int(row["question_id"]), "answer": next(rest)} for row in file.rows]
        path = (
            output_dir / f"{Path(file.source.questions).stem.removesuffix('questions').removesuffix('_')}_results.json"
        )
        write_json(path, results, indent=None)
        print(f"Answers to {len(results)} questions: {path}")


def compute_metrics_of(
    test: Questions, predictions: Sequence[str], answers: Sequence[str], train: Questions, control: Path | None
) -> dict[str, dict]:
    """Return the metrics of each language, and the accuracies of the control, which is in a folder."""
    pairs = [(row, answer) for row, answer in zip(test.rows, predictions, strict=True) if row["answers"]]
    if not pairs:
        return {}
    rows, chosen = zip(*pairs, strict=True)
    metrics = vqa_metrics(rows, chosen, answers, majority=MajorityBaseline(train.rows) if train.rows else None)
    if control is not None:
        merge_control(metrics, json.loads((control / METRICS).read_text("utf-8"))["languages"], CONTROL)
    return metrics


def write_metrics(metrics: dict[str, dict], facts: dict[str, object], seconds: float, output_dir: Path) -> None:
    """Print the metrics and write them to `metrics.json`."""
    results = {"languages": metrics, **facts, "wall_seconds": round(seconds, 1)}
    write_json(output_dir / METRICS, results | {"paper_reference": paper_reference(4), "comparable": False})
    if metrics:
        print(format_metrics(metrics))


__all__ = ["ARGUMENTS", "VQAArguments", "finetune", "main"]

if __name__ == "__main__":
    main()
