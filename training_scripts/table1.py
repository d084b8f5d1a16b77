"""The paper's table 1, with rows of ours: zero-shot classification of images by the names of their classes.

    wenlan table1 runs/quickstart --images emoji7 --languages zh en de fr cs ja ko
    wenlan table1 MODEL --images photos --classes classes.tsv                 # photos/<class id>/*.jpg
    wenlan table1 MODEL --images "imagenet/val-*.tar" --classes imagenet.tsv --templates prompts.txt --resume
    wenlan table1 MODEL --suite suite.yaml                                    # a row for each of several data sets

Names are classified bare and in an ensemble of templates, in each language, beside chance and a control in which each
class has the name of another. Predictions are written as they come: `--resume` goes on after an interruption.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ..data.files.hashing import hash_model
from ..data.files.json_files import write_json
from ..data.files.lock import output_lock
from ..data.zero_shot.data_sets import EMOJI7, ZeroShotData, emoji7_data, own_data, suite_data
from ..evaluation.tables.zero_shot import zero_shot_table
from ..evaluation.zero_shot.evaluate import ROWS, evaluate_zero_shot
from ..pipelines.device import choose_device
from ..pipelines.open_brivl import open_brivl
from ..training.recipe_options import option
from ..training.reproduction import write_table
from ..training.run import METRICS
from ..training.script_options import JSON_HELP, run_script
from ..training.zero_shot.class_figure import draw_classes


@dataclass
class Table1Arguments:
    """Model, images and names of a zero-shot classification."""

    model: str = option("", "folder or hub id of a BriVL; the first word")
    images: str | None = option(
        None, "folder of class folders, .tar or .parquet shards, a saved data set or its hub id; or emoji7"
    )
    classes: str | None = option(None, "file of classes: class_id<TAB>name_zh[<TAB>name_en[<TAB>synonyms_zh]]")
    templates: list[str] = option([], "files of templates, one for each language; ours by default")
    synonyms: Literal["max", "mean", "first"] = option("max", "names of a class: the nearest, their mean, the first")
    languages: list[str] = option(["zh"], "of the names, some of zh en de fr cs ja ko")
    columns: list[str] = option([], "two of shards and data sets: of the images, of their labels")
    split: str | None = option(None, "of a data set, such as test")
    suite: str | None = option(None, "YAML list of data sets, a row each, in place of images and classes")
    output_dir: str = option("runs/table1", "for the table, the metrics and all predictions")
    seed: int = option(0, "of the permuted names and of the intervals", low=0, high=2**32 - 1)
    device: str | None = option(None, "such as cuda; by default a GPU if there is one")
    limit: int | None = option(None, "take so many images, evenly spaced", low=1)
    batch_size: int = option(32, "images at a time", low=1)
    resume: bool = option(False, "go on with the predictions that are in output_dir")
    json: bool = option(False, JSON_HELP)
    comparable: bool = option(False, "you say that data and weights are the paper's")

    def data_sets(self) -> list[ZeroShotData]:
        """Return what is to be classified.

        Raises:
            FileNotFoundError: a file that is not there.
            ValueError: options that do not fit together, and class files or templates that cannot be used.
        """
        if self.columns and len(self.columns) != 2:
            raise ValueError(f"columns are {', '.join(self.columns)}; give two, of the images and of their labels.")
        image, label = self.columns or ("image", None)
        if self.suite:
            if self.images or self.classes or self.templates or self.languages != ["zh"]:
                raise ValueError("A suite names images, classes, templates and languages itself; leave yours out.")
            return suite_data(self.suite, image_column=image, label_column=label, split=self.split)
        if not self.images:
            raise ValueError(f"Give --images: a folder of class folders, shards, a data set or {EMOJI7}; or a --suite.")
        if self.images == EMOJI7:
            if self.classes or self.columns or self.split:
                raise ValueError(f"{EMOJI7} has classes, columns and a split of its own; leave yours out.")
            return [emoji7_data(self.languages, self.templates)]
        if not self.classes:
            raise ValueError("Give --classes, a file with a row for each class: class_id<TAB>name_zh.")
        return [
            own_data(
                self.images,
                self.classes,
                self.languages,
                self.templates,
                image_column=image,
                label_column=label,
                split=self.split,
            )
        ]


def main(argv: Sequence[str] | None = None) -> Path:
    """Make the table; return its folder.

    Raises:
        SystemExit: with 130 after Ctrl-C.
        ValueError: options or data are bad.
    """
    return run_script(Table1Arguments, run, argv, command="wenlan table1")


def run(config: Table1Arguments) -> dict[str, object]:
    """Classify, write all files into `output_dir`, and return what is in `metrics.json`.

    Raises:
        FileNotFoundError: no such model, images or file.
        ValueError: options or data are bad, or `output_dir` holds another run.
        TooManyBadRowsError: more than 1 % of the images cannot be decoded.
    """
    started, folder = time.monotonic(), Path(config.output_dir)
    if not config.model:
        raise ValueError("Give the folder or hub id of a BriVL first: wenlan table1 MODEL --images ...")
    device, data_sets = choose_device(config.device), config.data_sets()
    folders = [folder / data.name if len(data_sets) > 1 else folder for data in data_sets]
    if not config.resume and any((one / name).exists() for one in folders for name in (ROWS, METRICS)):
        raise ValueError(f"{folder} holds a run: give --resume to go on with it, or another --output_dir.")
    images = [data.open_images(limit=config.limit) for data in data_sets]
    model, processor = open_brivl(config.model)
    model.to(device)  # type: ignore[arg-type]  # transformers wraps `to` without its types
    results = {}
    with output_lock(folder):
        write_json(folder / "config.json", asdict(config))
        for data, own, place in zip(data_sets, images, folders, strict=True):
            found = evaluate_zero_shot(
                model,
                processor,
                data,
                own,
                place,
                synonyms=config.synonyms,
                seed=config.seed,
                batch_size=config.batch_size,
                progress=True,
            )
            draw_classes(found, place / "classes.png", as_original=processor.image_processor.as_original)
            results[data.name] = found.facts
        notes = [f"Model: {config.model}. Intervals: bootstrap over images."]
        table = zero_shot_table(results, comparable=config.comparable, notes=notes)
        facts = {
            "model": config.model,
            "model_hash": hash_model(model),
            "seed": config.seed,
            "data_sets": results,
            "wall_seconds": round(time.monotonic() - started, 1),
        }
        return write_table(table, 1, folder, facts, comparable=config.comparable)


__all__ = ["Table1Arguments", "main", "run"]

if __name__ == "__main__":
    main()
