"""The paper's table 4, with rows of ours: MLMM tuned to questions, by language and kind of question.

    wenlan table4                                            # EmojiScenes in English and Japanese, recipe vqa_tiny
    wenlan table4 --resume                                   # resumes, keeps what is done
    wenlan table4 vqa2.yaml vg_ja.yaml --test_sets "VQA 2.0 val" "VQA VG Japanese"

Each recipe is a run of `wenlan finetune-vqa` in the folder `model`; options that are not the table's are handed on to
all of them. A model of the same size that only reads the questions is trained beside each. Test-dev of VQA 2.0 has no
metric here, since the test server keeps its answers: send it the file of results.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from ..data.files.json_files import holds_list
from ..data.files.lock import output_lock
from ..data.vqa.load import find_annotations
from ..evaluation.tables.paper import vqa_table
from ..training.recipe import parse_recipe
from ..training.reproduction import (
    TableOptions,
    is_finished,
    name_test_sets,
    parse_table_options,
    run_once,
    write_table,
)
from ..training.vqa.arguments import QuestionArguments
from .finetune_vqa import ARGUMENTS
from .finetune_vqa import main as finetune

# whatever the recipe says
SET = ("--with_control", "true", "--question_only", "false", "--predict_only", "false")


def main(argv: Sequence[str] | None = None) -> Path:
    """Run the recipes, write `table4.md`, `.csv`, `.png` and `metrics.json`; return the folder.

    Raises:
        SystemExit: with 143 or 130 if SIGTERM or Ctrl-C ended training.
        ValueError: options, recipes or data are bad.
    """
    options = parse_table_options(
        argv,
        ARGUMENTS,
        command="table4",
        recipe="vqa_tiny",
        reserved=("--with_control", "--question_only", "--predict_only"),
    )
    with output_lock(options.output_dir):
        make_table(options)
    return options.output_dir


def make_table(options: TableOptions) -> None:
    """Run what is not finished and write the table."""
    started = time.monotonic()
    recipes = [parse_recipe(ARGUMENTS, [recipe, *options.others]) for recipe in options.recipes]
    for recipe, (_, questions, *_) in zip(options.recipes, recipes, strict=True):
        if not is_finished(options.folder(recipe) / "model", options):
            check_questions(recipe, questions)
    names = name_test_sets(options, [Path(questions.test_questions[0]).parent for _, questions, *_ in recipes])
    runs = {
        name: run_once(options.folder(recipe) / "model", recipe, options, finetune, *SET)
        for name, recipe in zip(names, options.recipes, strict=True)
    }
    results = {name: run["languages"] for name, run in runs.items()}
    seeds = sorted({run["seed"] for run in runs.values()})
    notes = [
        f"{name}: {run['answers']} answers to choose from; tuned from {run['model']}." for name, run in runs.items()
    ]
    notes += [
        f"Seed: {', '.join(map(str, seeds))}. Intervals: bootstrap over images.",
        "question only: a model of the same size that sees no image; majority: the most common answer to the exact "
        "question in training; oracle: the best answer of the vocabulary.",
    ]
    facts = {
        "model": {name: run["model"] for name, run in runs.items()},
        "seeds": seeds,
        "n": {name: {language: row["count"] for language, row in rows.items()} for name, rows in results.items()},
        "results": runs,
        "wall_seconds": round(time.monotonic() - started, 1),
    }
    table = vqa_table(results, comparable=options.comparable, notes=notes)
    write_table(table, 4, options.output_dir, facts, comparable=options.comparable)


def check_questions(recipe: str, questions: QuestionArguments) -> None:
    """Raise ValueError for questions that no metric can be made of, FileNotFoundError for files that are not there."""
    questions.folders(predict_only=False)
    files = [*questions.questions, *questions.test_questions, *questions.annotations, *questions.test_annotations]
    if missing := [path for path in files if not Path(path).is_file()]:
        raise FileNotFoundError(
            f"{recipe}: no such file: {', '.join(missing)}; shipped recipes begin with how to make theirs."
        )
    if not questions.test_questions:
        raise ValueError(f"{recipe} has no test_questions: a table is made of test metrics.")
    if not questions.test_annotations and not any(map(has_answers, questions.test_questions)):
        raise ValueError(f"{recipe}: no test questions have annotations, so there is nothing to evaluate by.")


def has_answers(path: str) -> bool:
    """Return True if a file of questions has annotations beside it, or is a list with answers (VQA VG Japanese)."""
    return find_annotations(path) is not None or holds_list(Path(path))


__all__ = ["main"]

if __name__ == "__main__":
    main()
