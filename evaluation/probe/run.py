"""The whole probe: towers and their controls on two sets of images, as numbers with intervals."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ...pipelines.device import choose_device
from ..few_shot.draws import accuracy, summarize
from ..retrieval.confidence_interval import draw_recalls, percent_interval
from .features import LAYERS, Features, extract_features, open_tower
from .few_shot import DRAWS, few_shot_curve
from .image_sets import Label, LabelledImages, check_classes, class_indices, name_classes, read_image_sets
from .knn import knn_predictions
from .linear_probe import choose_c, fit_linear

logger = logging.getLogger(__name__)

TRAINED, RANDOM_TOWER = "trained", "random tower"
EXACT_TAIL = 0.025  # of an interval of 95 %
FEW = 100  # images to evaluate on, of which each is a point


def run_probe(
    models: Sequence[str],
    train: str | Path,
    test: str | Path | None = None,
    *,
    label: Label = "group",
    layers: Sequence[str] = ("embeddings", "pooled"),
    random_tower: bool = True,
    seed: int = 0,
    batch_size: int = 32,
    device: str | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Return the metrics of frozen image towers: percentages beside chance, with 95 % intervals.

    Args:
        models: folders or hub ids of BriVLs, and `timm:NAME`, see `TimmTower`.
        train, test, label: see `read_image_sets`.
        layers: of a BriVL; a backbone of timm has but one.
        random_tower: also evaluate each tower with random weights: a control.
        seed: of the validation part, the draws, the permuted labels and the random weights.
        batch_size: images at a time.
        device: by default a GPU if there is one.
        progress: show progress bars.

    Returns:
        `n_train`, `n_test`, `classes`, `chance` (of a guess), `majority` (of the most common class to train on),
        `seed`, `comparable` (False: the paper has no such numbers), `data` (what was left out), `seconds`, `notes`
        (why numbers say little, also logged as warnings), and `towers`: by model, then `trained` and `random tower`:
        `model_id`, `seconds` and by layer what `probe_features` returns.

    Raises:
        FileNotFoundError, ValueError: as `read_image_sets`, `open_tower` and `extract_features`.
        ImportError: scikit-learn is not installed.
    """
    started = time.perf_counter()
    if not models or len(set(models)) < len(models):
        raise ValueError(f"The models are {', '.join(models) or 'none'}; give each one once.")
    if not layers or set(layers) - set(LAYERS):
        raise ValueError(f"The layers are {', '.join(layers) or 'none'}; give some of {', '.join(LAYERS)}.")
    device = choose_device(device)
    sets = read_image_sets(train, test, label=label)
    towers: dict[str, dict[str, Any]] = {}
    for name in models:
        towers[name] = {}
        for weights in (TRAINED, RANDOM_TOWER) if random_tower else (TRAINED,):
            began = time.perf_counter()
            tower = open_tower(name, layers, random_seed=seed if weights == RANDOM_TOWER else None, device=device)
            own, other = (extract_features(tower, one, batch_size=batch_size, progress=progress) for one in sets)
            check_classes(own.labels, other.labels)
            results = {layer: probe_features(own, other, layer, seed=seed) for layer in tower.layers}
            seconds = time.perf_counter() - began
            towers[name][weights] = {"model_id": tower.model_id, "seconds": seconds, "layers": results}
    notes = list(_notes(own.labels, other.labels, towers))
    for note in notes:
        logger.warning(note)
    return _describe(sets, (own, other)) | {
        "notes": notes,
        "label": label,
        "seed": seed,
        "comparable": False,
        "version": version("wenlan"),
        "seconds": time.perf_counter() - started,
        "towers": towers,
    }


def probe_features(train: Features, test: Features, layer: str, *, seed: int) -> dict[str, Any]:
    """Return the metrics of one layer.

    Returns:
        `dimension`; `linear`: `accuracy`, `interval` over the images evaluated, `C` and `validation`, the accuracy of
        each C on the validation part; `permuted_labels`: of the same probe trained on permuted labels, `DRAWS` times,
        which must be at chance; `knn`: by k; `few_shot`: see `few_shot_curve`.
    """
    _, own, wanted = class_indices(train.labels, test.labels)
    features, evaluated = train.layers[layer], test.layers[layer]
    c, validation = choose_c(features, own, seed=seed)
    predictions = fit_linear(features, own, c=c).predict(evaluated)
    rng, permuted = np.random.default_rng(seed), list[float]()
    for _ in range(DRAWS):
        wrong = fit_linear(features, rng.permutation(own), c=c)
        permuted.append(accuracy(wrong.predict(evaluated), wanted))
    linear = _accuracy(predictions == wanted) | {"C": c, "validation": {f"{k:g}": v for k, v in validation.items()}}
    nearest = knn_predictions(features, own, evaluated)
    curve = few_shot_curve(features, own, evaluated, wanted, seed=seed)
    return {
        "dimension": features.shape[1],
        "linear": linear,
        "permuted_labels": summarize(permuted),
        "knn": {str(k): _accuracy(found == wanted) for k, found in nearest.items()},
        "few_shot": curve,
    }


def _accuracy(hits: np.ndarray) -> dict[str, Any]:
    """Return accuracy and 95 % interval, in percent, of (images,) bool: a bootstrap over images."""
    column = hits[:, None].astype(float)
    drawn = draw_recalls(column, column, np.ones(len(hits)))[:, 0, 0]
    return {"accuracy": 100 * float(hits.mean()), "interval": percent_interval(drawn)}


def _describe(sets: tuple[LabelledImages, LabelledImages], found: Sequence[Features]) -> dict[str, Any]:
    """Return numbers of images and classes, and what a guess would get."""
    train, test = found
    classes, own, wanted = class_indices(train.labels, test.labels)
    majority = float((wanted == np.bincount(own).argmax()).mean())
    counts: Mapping[str, Any] = {"n_train": len(own), "n_test": len(wanted), "classes": len(classes)}
    reports = {images.source: one.report.to_dict() for images, one in zip(sets, found, strict=True)}
    return {**counts, "chance": 100 / len(classes), "majority": 100 * majority, "data": reports}


def _notes(train: Sequence[str], test: Sequence[str], towers: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield what must be known of the numbers: few images, classes without images, intervals without width."""
    classes, n = set(train), len(test)
    if n < FEW:
        yield (
            f"Few images: there are {n} to evaluate on, {n / len(classes):.1f} a class, so that one is {100 / n:.1f} "
            "points, and the intervals are too narrow."
        )
    if missing := classes - set(test):
        yield f"{len(missing)} of {len(classes)} classes have no image to evaluate on: {name_classes(missing)}."
    layers = [
        layer for by_weights in towers.values() for one in by_weights.values() for layer in one["layers"].values()
    ]
    if any(one["accuracy"] in (0, 100) for layer in layers for one in (layer["linear"], *layer["knn"].values())):
        yield (
            f"Where all of {n} images are right, or all wrong, the interval of a bootstrap has no width; the exact one "
            f"is {100 - 100 * EXACT_TAIL ** (1 / n):.1f} points wide."
        )


__all__ = ["RANDOM_TOWER", "TRAINED", "probe_features", "run_probe"]
