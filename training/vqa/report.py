"""Reports of fine-tuning to questions: the data, the answers for the test server, and the metrics."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from transformers import TrainingArguments

from ...data.files.json_files import write_json
from ...data.vqa.dataset import Questions
from ...evaluation.vqa.report import MajorityBaseline, merge_control, vqa_metrics
from ..run import METRICS
from .arguments import VQAArguments

CONTROL = "question_only"  # its folder, and its column in the metrics


def describe_run(
    own: VQAArguments, args: TrainingArguments, train: Questions, test: Questions, num_answers: int
) -> dict[str, object]:
    """Return what is trained on and evaluated on, and how: a model and its control share it."""
    trained = {name: getattr(own, name) for name in ("init_from", "head_lr_factor", "prior_bias", "answer_embeddings")}
    trained |= {name: getattr(args, name) for name in ("learning_rate", "per_device_train_batch_size", "seed")}
    length = {name: getattr(args, name) for name in ("max_steps", "num_train_epochs")}
    files = {"training": [file.to_dict() for file in train.files], "test": [file.to_dict() for file in test.files]}
    return files | {"answers": num_answers, "trained": trained, "length": length}


def print_data(train: Questions, test: Questions, num_answers: int) -> None:
    """Print what there is to train on and to evaluate on."""
    for title, questions in (("Training", train), ("Test", test)):
        print("\n".join([f"{title}:", *(f"  {line}" for file in questions.files for line in str(file).splitlines())]))
    print(f"{num_answers} answers")


def name_answers(numbers: object, answers: Sequence[str]) -> list[str]:
    """Return the answers of the vocabulary that have the (n,) predicted numbers."""
    return [answers[number] for number in np.asarray(numbers).tolist()]


def write_answers(test: Questions, predictions: Sequence[str], output_dir: Path) -> None:
    """Write `v2_OpenEnded_X_results.json` for each file of questions: [{"question_id": int, "answer": str}, ...]."""
    rest = iter(predictions)
    for file in test.files:
        results = [{"question_id": int(row["question_id"]), "answer": next(rest)} for row in file.rows]
        stem = Path(file.source.questions).stem.removesuffix("questions").removesuffix("_")
        path = output_dir / f"{stem}_results.json"
        write_json(path, results, indent=None)
        print(f"Answers to {len(results)} questions: {path}")


def measure_answers(
    test: Questions, predictions: Sequence[str], answers: Sequence[str], train: Questions, control: Path | None
) -> dict[str, dict]:
    """Return the metrics of each language, with the accuracies of the control, which is in a folder."""
    pairs = [(row, answer) for row, answer in zip(test.rows, predictions, strict=True) if row["answers"]]
    if not pairs:
        return {}
    rows, chosen = zip(*pairs, strict=True)
    metrics = vqa_metrics(rows, chosen, answers, majority=MajorityBaseline(train.rows) if train.rows else None)
    if control is not None:
        merge_control(metrics, json.loads((control / METRICS).read_text("utf-8"))["languages"], CONTROL)
    return metrics


__all__ = ["CONTROL", "describe_run", "measure_answers", "name_answers", "print_data", "write_answers"]
