"""The paper's table 3, with rows of ours: MLMM tuned to retrieval on English, on each language, and on all.

    wenlan table3                                                        # EmojiScenes, recipe retrieval_tiny
    wenlan table3 --resume                                               # resumes, keeps the settings that are done
    wenlan table3 multi30k.yaml coco.yaml --test_sets Multi30K MSCOCO    # your data, in the paper's columns
    wenlan table3 --settings en all --max_steps 200 --output_dir runs/short

Each setting is a run of `wenlan finetune-retrieval` in a folder of its name; options that are not the table's are
handed on to all of them. Chance and the test with regions of zeros stand below each of ours.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from transformers import TrainingArguments

from ..data.files.lock import output_lock
from ..evaluation.tables.paper import GROUPS, Setting, retrieval_table
from ..training.mlmm.data import caption_files
from ..training.recipe import parse_recipe
from ..training.reproduction import (
    TableOptions,
    is_finished,
    name_test_sets,
    parse_table_options,
    run_once,
    write_table,
)
from ..training.retrieval.arguments import RetrievalArguments, RetrievalData
from .finetune_retrieval import ARGUMENTS, open_job
from .finetune_retrieval import main as finetune

SET = ("--without_regions", "true", "--evaluate_only", "false")  # whatever the recipe says


def main(argv: Sequence[str] | None = None) -> Path:
    """Run the settings, write `table3.md`, `.csv`, `.png` and `metrics.json`; return the folder.

    Raises:
        SystemExit: with 143 or 130 if SIGTERM or Ctrl-C ended training.
        ValueError: options, recipes or data are bad, such as a setting whose language there is not; before any
            training.
    """
    options = parse_table_options(
        argv,
        ARGUMENTS,
        command="table3",
        recipe="retrieval_tiny",
        settings=list(GROUPS),
        reserved=("--setting", "--evaluate_only", "--without_regions"),
    )
    with output_lock(options.output_dir):
        make_table(options)
    return options.output_dir


def make_table(options: TableOptions) -> None:
    """Run what is not finished and write the table."""
    started = time.monotonic()
    recipes = [parse_recipe(ARGUMENTS, [recipe, *options.others]) for recipe in options.recipes]
    names = name_test_sets(options, [find_folder(data) for _, data, *_ in recipes])
    for recipe, (own, data, *_, args) in zip(options.recipes, recipes, strict=True):
        check_settings(recipe, options, own, data, args)
    results = {
        name: {
            setting: run_once(options.folder(recipe) / setting, recipe, options, finetune, "--setting", setting, *SET)
            for setting in options.settings
        }
        for name, recipe in zip(names, options.recipes, strict=True)
    }
    models = {name: own.init_from for name, (own, *_) in zip(names, recipes, strict=True)}
    seeds = sorted({args.seed for *_, args in recipes})
    notes = [describe(name, settings, models[name]) for name, settings in results.items()]
    notes.append(f"Seed: {', '.join(map(str, seeds))}.")
    if any("en" in settings and "each" in settings for settings in results.values()):
        notes.append("En and Each share their model of English in the paper; here each is trained by its own run.")
    table = retrieval_table(results, comparable=options.comparable, notes=notes)
    n = {
        name: {key: next(iter(rows.values()))[key] for key in ("images", "captions")} for name, rows in results.items()
    }
    facts: dict[str, object] = {"model": models, "seeds": seeds, "n": n, "results": results}
    facts["wall_seconds"] = round(time.monotonic() - started, 1)
    write_table(table, 3, options.output_dir, facts, comparable=options.comparable)


def check_settings(
    recipe: str, options: TableOptions, own: RetrievalArguments, data: RetrievalData, args: TrainingArguments
) -> None:
    """Raise ValueError for a setting that the data of a recipe do not allow, before the first is trained."""
    missing = [one for one in options.settings if not is_finished(options.folder(recipe) / one, options)]
    if not missing:
        return
    if not data.test_captions:
        raise ValueError(f"{recipe} has no test_captions: a table is made of test metrics.")
    job = open_job(own, data)
    for setting in missing:
        try:
            own = replace(own, setting=setting, evaluate_only=False)
            job.check(own, args)
        except ValueError as error:
            raise ValueError(f"{recipe}, setting {setting}: {error} (--settings chooses among them.)") from error


def find_folder(data: RetrievalData) -> Path | None:
    """Return the folder of the captions that a recipe is evaluated on; FileNotFoundError if it holds none."""
    return next(iter(caption_files(data.test_captions).values())).parent if data.test_captions else None


def describe(name: str, settings: dict[Setting, dict], model: str) -> str:
    """Return what a test set's metrics are of, in a sentence."""
    metrics = next(iter(settings.values()))
    images, captions = metrics["images"], metrics["captions"]
    languages: dict[str, list[str]] = {}
    for language in captions:
        languages.setdefault(f"{images[language]} images, {captions[language]} captions", []).append(language)
    counts = "; ".join(f"{count} in {', '.join(some)}" for count, some in languages.items())
    folds = f" ({metrics['folds']} folds)" if metrics["folds"] > 1 else ""
    return f"{name}: {counts}{folds}; tuned from {model}."


__all__ = ["main"]

if __name__ == "__main__":
    main()
