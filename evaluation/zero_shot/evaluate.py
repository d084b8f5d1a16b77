"""Zero-shot classification of a data set by one model, in each of its languages, with all that is reported of it."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel

from ...data.files.atomic import atomic_file
from ...data.files.hashing import hash_model
from ...data.rows.report import BadRowReport
from ...data.rows.vocabulary import check_vocabulary
from ...data.zero_shot.class_list import ClassList
from ...data.zero_shot.data_sets import ZeroShotData
from ...data.zero_shot.images import LabelledImages
from ...data.zero_shot.templates import PLACE
from ...pipelines.open_brivl import hash_processor
from ...processing.processing_brivl import BriVLProcessor
from .anchors import Synonyms, class_anchors
from .classification import Anchors, classify_images
from .embeddings import TextEmbeddings
from .metrics import class_metrics, classification_metrics, confused_pairs
from .prediction_shards import Piece, PredictionShards

ENSEMBLE = "ensemble"
ROWS = "rows"  # folder of the shards
SHARD_SIZE = 256  # images


@dataclass(frozen=True)
class ZeroShotResult:
    """The classification of a data set.

    Attributes:
        images: that were classified.
        classes: of each language, those that have images.
        settings: language and templates ("{}" or "ensemble") of each column of predictions.
        found: the predictions.
        report: of the images.
        facts: metrics and what they are of, as JSON has it.
    """

    images: LabelledImages
    classes: Mapping[str, ClassList]
    settings: Mapping[str, tuple[str, str]]
    found: Piece
    report: BadRowReport
    facts: dict[str, object]


def evaluate_zero_shot(
    model: PreTrainedModel,
    processor: BriVLProcessor,
    data: ZeroShotData,
    images: LabelledImages,
    folder: Path,
    *,
    synonyms: Synonyms = "max",
    seed: int = 0,
    batch_size: int = 32,
    progress: bool = False,
) -> ZeroShotResult:
    """Classify the images of a data set, and write `predictions.csv`, `per_class.csv` and `confusions.csv`.

    Each language is evaluated with bare names ("{}") and with its templates ("ensemble"). The rows of the folder `rows`
    are kept; with the same model, images, classes and options a stopped run goes on there, to the same numbers.

    Args:
        model, processor: a `BriVLModel` and its processor.
        data: classes and templates.
        images: of the data set, as `data.open_images` gives them.
        folder: for all files; is made if need be.
        synonyms: as of `class_anchors`.
        seed: of the permuted names and of the intervals.
        batch_size: images at a time.
        progress: show progress bars.

    Raises:
        ValueError: fewer than two classes have images, the folder was begun with something else, or as
            `classify_images`.
        TooManyBadRowsError: as there.
    """
    ids = [data.class_ids[index] for index in images.kept]
    classes = {language: own.select(ids) for language, own in data.classes.items()}
    settings = {
        f"{language} {kind}": (language, kind)
        for language, templates in data.templates.items()
        for kind in [PLACE, *[ENSEMBLE] * (tuple(templates) != (PLACE,))]
    }
    made_by = {
        "model": hash_model(model),
        "device": model.device.type,
        "images": {"digest": images.digest, "taken": images.count},
        "classes": {language: own.sha256 for language, own in classes.items()},
        "templates": {language: list(templates) for language, templates in data.templates.items()},
        "options": {"synonyms": synonyms, "seed": seed, "batch_size": batch_size},
        "processor": hash_processor(processor),
    }
    shards = PredictionShards(folder / ROWS, images.count, made_by, size=SHARD_SIZE)
    anchors: Anchors = {}
    if shards.pending():
        anchors = _anchors(model, processor, classes, data.templates, settings, synonyms, seed, progress)
    found, report = classify_images(model, processor, images, anchors, shards, batch_size=batch_size, progress=progress)
    result = ZeroShotResult(images, classes, settings, found, report, {})
    result.facts.update(_facts(result, data, synonyms, seed))
    _write_csv(folder / "predictions.csv", _prediction_rows(result))
    _write_csv(folder / "per_class.csv", _class_rows(result))
    _write_csv(folder / "confusions.csv", _confusion_rows(result))
    return result


def _anchors(
    model: PreTrainedModel,
    processor: BriVLProcessor,
    classes: Mapping[str, ClassList],
    templates: Mapping[str, Sequence[str]],
    settings: Mapping[str, tuple[str, str]],
    synonyms: Synonyms,
    seed: int,
    progress: bool,
) -> Anchors:
    embed, anchors = {language: TextEmbeddings(model, processor, progress=progress) for language in classes}, {}
    for language, own in classes.items():
        names = [name for names in own.names for name in names]
        check_vocabulary(processor.tokenizer, names, max_tokens=processor.max_text_length, what=f"names in {language}")
        all_templates = dict.fromkeys([PLACE, *templates[language]])
        embed[language].texts(template.replace(PLACE, name) for name in names for template in all_templates)
    for setting, (language, kind) in settings.items():
        used = [PLACE] if kind == PLACE else templates[language]
        pair = [
            class_anchors(embed[language], own, used, synonyms=synonyms)
            for own in (classes[language], classes[language].permuted(seed))
        ]
        anchors[setting] = (pair[0], pair[1])
    return anchors


def _facts(result: ZeroShotResult, data: ZeroShotData, synonyms: str, seed: int) -> dict[str, object]:
    labels, count = result.found.labels, len(result.images.kept)
    languages: dict[str, dict[str, object]] = {
        language: {
            "class_list_sha256": own.sha256,
            "classes_sharing_a_name": own.sharing_a_name,
            "templates": list(data.templates[language]),
        }
        for language, own in result.classes.items()
    }
    for setting, (language, kind) in result.settings.items():
        found = result.found.settings[setting]
        languages[language][kind] = {"n": len(labels)} | classification_metrics(labels, found, count, seed=seed)
        top_1 = class_metrics(labels, found, count)["top_1"]
        by_class = zip(next(iter(result.classes.values())).ids, top_1.tolist(), strict=True)
        languages[language]["per_class"] = {one: round(value, 4) for one, value in by_class if value == value}
    return {
        "n": len(labels),
        "classes": count,
        "classes_without_images": result.images.without_images,
        "images": {"digest": result.images.digest, "report": result.report.to_dict()},
        "synonyms": synonyms,
        "languages": languages,
    }


def _prediction_rows(result: ZeroShotResult) -> Iterable[Sequence[object]]:
    """Yield image, right class, and of each setting the nearest class, its cosine, and the nearest ones in order."""
    ids = np.array(next(iter(result.classes.values())).ids, dtype=object)
    found = result.found
    yield ["image", "class_id"] + [
        f"{one} {part}" for one in found.settings for part in ("predicted", "score", "top_5")
    ]
    for row, (name, label) in enumerate(zip(found.names, found.labels, strict=True)):
        cells: list[object] = [name, ids[label]]
        for own in found.settings.values():
            top = ids[own.top[row]]
            cells += [top[0], f"{own.scores[row, 0]:.6f}", " ".join(top)]
        yield cells


def _class_rows(result: ZeroShotResult) -> Iterable[Sequence[object]]:
    yield ["language", "templates", "class_id", "name", "images", "top_1", "top_5"]
    labels, count = result.found.labels, len(result.images.kept)
    for setting, (language, kind) in result.settings.items():
        of_class = class_metrics(labels, result.found.settings[setting], count)
        parts = [of_class[name] for name in ("images", "top_1", "top_5")]
        own = result.classes[language]
        for class_id, names, images, top_1, top_5 in zip(own.ids, own.names, *parts, strict=True):
            yield [
                language,
                kind,
                class_id,
                names[0],
                images,
                *([f"{top_1:.2f}", f"{top_5:.2f}"] if images else ["", ""]),
            ]


def _confusion_rows(result: ZeroShotResult) -> Iterable[Sequence[object]]:
    yield ["language", "templates", "class_id", "name", "predicted_id", "predicted_name", "images"]
    for setting, (language, kind) in result.settings.items():
        own = result.classes[language]
        for right, predicted, images in confused_pairs(result.found.labels, result.found.settings[setting]):
            pair = [text for one in (right, predicted) for text in (own.ids[one], own.names[one][0])]
            yield [language, kind, *pair, images]


def _write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    with atomic_file(path) as unfinished, unfinished.open("w", encoding="utf-8", errors="backslashreplace") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


__all__ = ["ENSEMBLE", "ROWS", "ZeroShotResult", "evaluate_zero_shot"]
