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

import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from transformers import TrainingArguments

from ..data.files.json_files import write_json
from ..data.files.model_folder import detect_model_type
from ..data.vqa.dataset import Questions
from ..evaluation.tables.paper import paper_reference
from ..evaluation.vqa.report import format_metrics, vqa_accuracies
from ..processing.processing_mlmm import OWN_FOLDER, MLMMProcessor
from ..training.checkpoints.resume import output_folder
from ..training.identity import describe_run
from ..training.mlmm.data import read_info
from ..training.mlmm.model import MLMMArguments, load_processor
from ..training.recipe import parse_recipe
from ..training.run import METRICS, REPORT, Run, RunArguments, hold_output_folder, wait_for_all
from ..training.vqa.arguments import QuestionArguments, VQAArguments
from ..training.vqa.data import load_test, load_training
from ..training.vqa.model import build_vqa_model, resolve_answers
from ..training.vqa.report import (
    CONTROL,
    describe_data,
    digest_questions,
    measure_answers,
    name_answers,
    print_data,
    refuse_other_control,
    write_answers,
)
from ..training.vqa.targets import add_targets
from ..training.vqa.trainer import VQACollator, VQATrainer

COMMAND = "wenlan finetune-vqa"
ARGUMENTS = (VQAArguments, QuestionArguments, RunArguments, TrainingArguments)


def main(argv: Sequence[str] | None = None) -> Path:
    """Fine-tune, save, evaluate; return the folder, with the metrics of each language in `metrics.json`.

    Raises:
        SystemExit: with 143 or 130 if SIGTERM or Ctrl-C ended training, after saving a checkpoint.
        ValueError: the data, the recipe, the list of answers, or the checkpoint to continue from is bad.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    own, _, run_args, args = parse_recipe(ARGUMENTS, argv, command=COMMAND)
    with hold_output_folder(args):
        if own.with_control and not (own.question_only or own.predict_only):
            folder = output_folder(args) / CONTROL
            if not (run_args.resume and all((folder / name).is_file() for name in (METRICS, REPORT))):
                finetune([*argv, "--question_only", "true", "--with_control", "false", "--output_dir", str(folder)])
        wait_for_all(finetune(argv))
    return output_folder(args)


def finetune(argv: Sequence[str]) -> VQATrainer:
    """Train one model, unless it is only to answer; save and evaluate it; return its trainer."""
    started = time.monotonic()
    own, data, run_args, args = parse_recipe(ARGUMENTS, argv, command=COMMAND)
    if not own.init_from:
        raise ValueError("Give init_from: the folder of an MLMM, pre-trained or for questions.")
    detect_model_type(own.init_from, expected="mlmm")
    run = Run(args, run_args, trains=not own.predict_only)
    info = read_info([{"regions": paths} for paths in data.folders(predict_only=own.predict_only)])
    processor = load_processor(MLMMArguments(init_from=own.init_from), info)
    processor.region_feature_dim = info.feature_dim
    processor.detector = own.detector or processor.detector
    test = load_test(data, processor)
    train = Questions([]) if own.predict_only else load_training(data, processor, test)
    answers = resolve_answers(own.init_from, data, train.files, predict_only=own.predict_only)
    add_targets(train.files, answers, nfkc=data.nfkc_answers, max_bad_fraction=data.max_bad_fraction)
    control = run.output_dir / CONTROL if own.with_control and train else None
    report = describe_data(train, test, len(answers))
    targets = [row["targets"] for row in train.rows] if own.prior_bias else ()
    model = build_vqa_model(own.init_from, answers, targets, processor.tokenizer if own.answer_embeddings else None)
    if train:
        names = ("init_from", "head_lr_factor", "prior_bias", "answer_embeddings", "question_only")
        settings = {name: getattr(own, name) for name in names}
        content = digest_questions(train, data.regions)
        identity = describe_run(args, settings, data=content, model=model.config, tokenizer=processor.tokenizer)
        run.identify(identity)
        if control is not None:
            refuse_other_control(control, identity, report)
    if run.is_main:
        print_data(train, test, len(answers))
        write_json(run.output_dir / REPORT, report)
    collator = VQACollator(processor, num_answers=len(answers), question_only=own.question_only)
    evaluated = test.annotated()
    trainer = VQATrainer(
        model,
        args,
        head_lr_factor=own.head_lr_factor,
        train_dataset=train or None,
        eval_dataset=evaluated or None,
        data_collator=collator,
        compute_metrics=lambda found: vqa_accuracies(evaluated.rows, name_answers(found.predictions, answers)),
        callbacks=run.callbacks,
    )
    if train:
        run.train(trainer, collator.bad_rows, max_bad_fraction=data.max_bad_fraction)
        save(run, trainer, processor)
    if test:
        trainer.compute_metrics = None  # questions without annotation are among these
        best = trainer.predict(test).predictions
        if run.is_main:
            if bad := collator.bad_rows.counts:
                print(f"Images that could not be used, also in the test: {dict(bad)}")
            predictions = name_answers(best, answers)
            write_answers(test, predictions, run.output_dir)
            metrics = measure_answers(test, predictions, answers, train, control)
            facts = {"model": own.init_from, "package": f"wenlan {version('wenlan')}", "seed": args.seed}
            facts |= {"question_only": own.question_only, "answers": len(answers)}
            facts |= {"wall_seconds": round(time.monotonic() - started, 1), "comparable": False}
            results = {"languages": metrics, **facts, "paper_reference": paper_reference(4)}
            write_json(run.output_dir / METRICS, results)
            print(format_metrics(metrics))
    if train and run.is_main:
        print(f"\nThe model is in {run.output_dir}. Next: wenlan answer {run.output_dir} IMAGE --question QUESTION")
    return trainer


def save(run: Run, trainer: VQATrainer, processor: MLMMProcessor) -> None:
    """Write the model with its answers, its processor, and the detector if it is a folder here."""
    named = processor.detector or "?"
    has_detector = named.startswith(OWN_FOLDER) or Path(named).is_dir()
    if run.is_main and not has_detector:
        print(f"The detector, {processor.detector}, is no folder here, so it is not saved beside the model.")
    run.save(trainer, processor, copy_detector=has_detector)


__all__ = ["ARGUMENTS", "finetune", "main"]

if __name__ == "__main__":
    main()
