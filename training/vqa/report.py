"""Reports of fine-tuning to questions: the data, the answers for the test server, and the metrics."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...data.files.json_files import read_json, write_json
from ...data.vqa.dataset import Questions
from ...evaluation.vqa.report import MajorityBaseline, merge_control, vqa_metrics
from ..content_digest import digest_regions, digest_values
from ..identity import Identity, refuse_other_run
from ..run import METRICS, REPORT

CONTROL = "question_only"  # its folder, and its column in the metrics


def describe_data(train: Questions, test: Questions, num_answers: int) -> dict[str, object]:
    """Return what is trained on and evaluated on, for `data_report.json`."""
    files = {"training": [file.to_dict() for file in train.files], "test": [file.to_dict() for file in test.files]}
    return files | {"answers": num_answers}


def digest_questions(questions: Questions, regions: Sequence[str]) -> dict[str, object]:
    """Return what identifies questions to train on: their rows with targets, and the regions of their images."""
    return {
        "questions": {"rows": len(questions), "digest": digest_values(questions.rows)},
        "regions": {"digest": digest_regions(regions)},
    }


def refuse_other_control(control: Path, identity: Identity, report: Mapping[str, object]) -> None:
    """Raise ValueError if the control in a folder was trained otherwise, or evaluated on other questions."""
    settings = identity["settings"] | {"question_only": True}
    refuse_other_run(control, identity | {"settings": settings})
    found = read_json(control / REPORT)
    if not isinstance(found, dict) or found.get("test") != report["test"]:
        raise ValueError(f"{control} was evaluated on other questions; remove the folder, or give another output_dir.")


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


__all__ = [
    "CONTROL",
    "describe_data",
    "digest_questions",
    "measure_answers",
    "name_answers",
    "print_data",
    "refuse_other_control",
    "write_answers",
]
