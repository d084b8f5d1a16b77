"""Table 2 on CSLDCP: all rows on all draws, resumable, and the files that are made of them."""

import csv
import io
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from ...data.csldcp.label_words import check_label_words, label_words, read_class_map
from ...data.csldcp.load import CSLDCP, SPLITS, LabelledTexts, check_super_classes, find_csldcp, read_csldcp
from ...data.files.atomic import atomic_file
from ...data.files.hashing import hash_json, hash_model
from ...data.files.manifest import agree_with_manifest
from ...evaluation.few_shot.draws import accuracy, class_accuracies, confusion, paired_difference, summarize
from ...evaluation.few_shot.floors import check_scikit_learn, most_frequent
from ...evaluation.tables.few_shot import CHOSEN, few_shot_table
from ..reproduction import write_table
from .csldcp_rows import TEXT, Floors, Row, Tower, kept, masked_lm_row
from .draw_store import PATTERN, DrawStore
from .masked_lm import MaskedLMSettings
from .prompt_tuning import PENALTIES, TuningSettings
from .settings import ALONE, NONE, UNTRAINED, FewShotSettings, OpenTower, open_towers
from .visual_prototypes import (
    IMAGINED,
    embed_pool,
    folder_prototypes,
    imagine_prototypes,
    noise_prototypes,
    retrieve_prototypes,
)

UNIMODAL = f"{ALONE}, {TEXT}"  # the row that all others are compared with
UNIMODAL_CHOSEN = f"{ALONE}, {CHOSEN}{TEXT}"  # where penalties are chosen
PENALTY = "residual_penalty"


def make_csldcp_table(settings: FewShotSettings, folder: Path, *, started: float) -> dict[str, object]:
    """Make what is not made yet, write all files, and return what is in `metrics.json`.

    Args:
        settings: of the table.
        folder: gets everything.
        started: `time.monotonic()` at the start of the command.

    Raises:
        FileNotFoundError, ValueError: data, models or options are bad, or the folder holds another table.
        ImportError: scikit-learn is not installed.
    """
    check_scikit_learn()
    data = read_csldcp(find_csldcp(settings.fewclue))
    if settings.use_dev and not all(len(data.remaining(split, 0)) for split in range(SPLITS)):
        raise ValueError("use_dev chooses on texts of a training set that are not drawn, and one of them has none.")
    groups = (
        check_super_classes(read_class_map(Path(settings.disciplines)), data.classes) if settings.disciplines else []
    )
    words = _label_words(settings, data)
    if settings.limit:
        data = replace(data, test=_evenly(data.test, settings.limit))
    masked = [
        masked_lm_row(settings.masked_lm, data, words, MaskedLMSettings(method=method, seed=settings.seed))
        for method in ("pet", "ptuning")
        if settings.masked_lm and method in settings.method
    ]
    towers = list(open_towers(settings, folder))
    rows_folder = folder / "rows"
    agree_with_manifest(rows_folder, _identity(settings, data), shards=PATTERN)
    rows = [*Floors(data).rows(), *masked]
    for tower in towers:
        rows += _tower_rows(tower, settings, data, folder)
    stores = {row.key: DrawStore(rows_folder, f"{row.key} {row.digest}") for row in rows}
    places = [(split, draw) for draw in range(settings.draws) for split in range(SPLITS)]
    for place in tqdm(places, desc="draws"):  # all rows of a draw first: what is stopped has pairs
        for row in rows:
            if place not in stores[row.key]:
                chosen = {PENALTY: row.choose(*place)} if row.choose else None
                stores[row.key].add(*place, row.predict(*place), chosen)
    for tower in towers:
        tower.encoder.check_unchanged()
    predictions = {row.key: stores[row.key].predictions(places) for row in rows}
    results = _results(rows, predictions, data)
    for row in rows:
        if row.choose:
            results[row.group][row.name][PENALTY] = stores[row.key].chosen(PENALTY, places)
    _write_classes(folder / "classes.csv", rows, predictions, data)
    if groups:
        _write_confusion(folder / "confusion.csv", rows, predictions, data, groups)
    floors = {"chance": 100 / len(data.classes), "most frequent class of the test": most_frequent(data.test.labels)}
    unknown = {tower.name: sum(tower.encoder.only_unknown(data.test.texts)) for tower in towers}
    notes = _notes(settings, data, towers, unknown)
    facts: dict[str, object] = {
        "task": "csldcp",
        "data": data.digest,
        "n": {"texts": len(data.test.texts), "classes": len(data.classes), "draws": len(places)},
        "left_out": dict(data.report.counts),
        "only_unknown_tokens": unknown,
        "seed": settings.seed,
        "tuning": asdict(TuningSettings(context_length=settings.context_length)),
        "chosen_among": list(PENALTIES) if settings.use_dev else None,
        "models": {tower.name: tower.encoder.digest for tower in towers},
        "floors": floors,
        "results": results,
        "wall_seconds": round(time.monotonic() - started, 1),
    }
    return write_table(few_shot_table(results, floors, notes=notes), 2, folder, facts, comparable=False)


def _label_words(settings: FewShotSettings, data: CSLDCP) -> list[str]:
    """Return the words of PET and p-tuning; none where they are not wanted."""
    if settings.masked_lm is None:
        return []
    if settings.label_words is None:
        return label_words(data.classes)
    return check_label_words(
        check_super_classes(read_class_map(Path(settings.label_words)), data.classes), data.classes
    )


def _evenly(test: LabelledTexts, limit: int) -> LabelledTexts:
    chosen = np.unique(np.linspace(0, len(test.texts) - 1, min(limit, len(test.texts))).astype(int))
    return LabelledTexts([test.texts[index] for index in chosen], test.labels[chosen])


def _identity(settings: FewShotSettings, data: CSLDCP) -> dict[str, object]:
    """Return what all predictions depend on; draws and models may be added."""
    names = ("visual", "visual_query", "images", "long", "context_length", "label_words", "seed", "limit")
    return {name: getattr(settings, name) for name in names} | {"data": data.digest}


def _tower_rows(opened: OpenTower, settings: FewShotSettings, data: CSLDCP, folder: Path) -> list[Row]:
    cache = folder / "embeddings" / f"{opened.encoder.digest}-{settings.draws}.npy"
    tower = Tower(opened.name, opened.encoder, data, settings.draws, settings.windows, cache, use_dev=settings.use_dev)
    tuning = TuningSettings(context_length=settings.context_length)
    rows = tower.prototype_rows()
    if opened.brivl is None or opened.name == UNTRAINED or settings.visual == NONE:
        return rows + tower.tuned_rows(TEXT, tuning)
    weights = hash_model(opened.brivl[0])
    name = hash_json([weights, settings.visual, settings.images, settings.seed])
    visual, noise = kept(folder / "embeddings" / f"{name}.npy", lambda: torch.stack(_visual(opened, settings, data)))
    if settings.visual_query != NONE:
        pool = folder / "embeddings" / f"{hash_json([weights, settings.images])}.npy"
        brivl = opened.brivl
        tower.pool = kept(pool, lambda: embed_pool(*brivl, settings.images))
    return rows + tower.ablation_rows(tuning, visual, noise, seed=settings.seed)


def _visual(opened: OpenTower, settings: FewShotSettings, data: CSLDCP) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (classes, d) visual prototypes of a BriVL, and those of noise."""
    assert opened.brivl is not None
    model, processor = opened.brivl
    if settings.visual == "images":
        visual = folder_prototypes(model, processor, data.classes, Path(settings.images))
    elif settings.visual == "imagine":
        visual = imagine_prototypes(model, processor, data.classes, seed=settings.seed, progress=True)
    else:
        visual = retrieve_prototypes(model, processor, data.classes, embed_pool(model, processor, settings.images))
    return visual, noise_prototypes(model, processor, len(data.classes), seed=settings.seed)


def _results(rows: Sequence[Row], predictions: dict[str, np.ndarray], data: CSLDCP) -> dict[str, dict[str, dict]]:
    right = {key: [accuracy(one, data.test.labels) for one in found] for key, found in predictions.items()}
    results: dict[str, dict[str, dict]] = {}
    for row in rows:
        found: dict[str, object] = {**summarize(right[row.key]), "accuracies": [100 * one for one in right[row.key]]}
        unimodal = UNIMODAL_CHOSEN if row.choose else UNIMODAL
        if unimodal in right and row.key != unimodal:
            found["difference"] = paired_difference(right[row.key], right[unimodal])
        results.setdefault(row.group, {})[row.name] = found
    return results


def _write_classes(path: Path, rows: Sequence[Row], predictions: dict[str, np.ndarray], data: CSLDCP) -> None:
    counts = np.bincount(data.test.labels, minlength=len(data.classes))
    columns = [class_accuracies(predictions[row.key], data.test.labels, len(data.classes)) for row in rows]
    lines = [["class", "texts", *(row.key for row in rows)]]
    for number, name in enumerate(data.classes):
        values = [column[number] for column in columns]
        lines.append([name, str(counts[number]), *("" if value is None else f"{value:.2f}" for value in values)])
    _write_csv(path, lines)


def _write_confusion(
    path: Path, rows: Sequence[Row], predictions: dict[str, np.ndarray], data: CSLDCP, groups: Sequence[str]
) -> None:
    lines = [["row", "discipline", "found as", "percent"]]
    for row in rows:
        for true, found in confusion(predictions[row.key], data.test.labels, groups).items():
            lines += [[row.key, true, name, f"{value:.2f}"] for name, value in found.items()]
    _write_csv(path, lines)


def _write_csv(path: Path, lines: Sequence[Sequence[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    with atomic_file(path) as unfinished:
        unfinished.write_text(text.getvalue(), "utf-8")


def _notes(settings: FewShotSettings, data: CSLDCP, towers: Sequence[OpenTower], unknown: dict[str, int]) -> list[str]:
    notes = [
        f"{len(data.test.texts):,} texts of test_public, {len(data.classes)} classes; one text a class to learn from, "
        f"{SPLITS} training sets x {settings.draws} draws. Intervals: bootstrap over draws, of differences over pairs.",
        "Floors (TF-IDF) count characters; they, and the nearest prototypes, are not trained at all.",
    ]
    if towers:
        tokens = ", ".join(f"{tower.name} {tower.encoder.max_tokens}" for tower in towers)
        notes.append(f"Up to {settings.windows} windows of a text are read; tokens of a window: {tokens}.")
    if any(tower.brivl for tower in towers) and settings.visual != NONE:
        pool = Path(settings.images).name
        source = f"{IMAGINED} images a name" if settings.visual == "imagine" else pool
        notes.append(
            f"Visual prototypes: {settings.visual}, {source}; permuted: those of other classes; noise: of noise."
        )
        if settings.visual_query != NONE:
            notes.append(f"Images retrieved for the text: the nearest of {pool}, compared with visual prototypes.")
    if settings.use_dev:
        among = ", ".join(f"{one:g}" for one in sorted(PENALTIES))
        notes.append(
            f"{CHOSEN.strip(': ').capitalize()}: each draw takes the one among {among} that is right most often on the "
            "texts of its training set that are not drawn; the difference is to the encoder alone that chooses, too."
        )
    notes += [
        f"{name}: nothing of {count} test texts is known to the tokenizer." for name, count in unknown.items() if count
    ]
    return notes


__all__ = ["UNIMODAL", "make_csldcp_table"]
