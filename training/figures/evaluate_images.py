"""Evaluation of images that were made for texts: by the tower itself, by an independent classifier, by controls."""

import sys
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from ...analysis.independent_classifier import IndependentClassifier, train_classifier
from ...analysis.neurons.evaluate import find_concepts, hits, nearest_training_distances, rank_by_embedding
from ...analysis.neurons.image_embedding import ImageEmbedder
from ...analysis.neurons.objective import total_variation
from ...analysis.neurons.optimization import OptimizedImages
from ...evaluation.vqa.report import image_interval
from .image_files import NON_FINITE

PERMUTED, RANDOM_TOWER = "permuted", "random_tower"
MIN_TEXTS = 5  # the fewest that controls are made of
CLASSIFIER_SEED = 1_000_003  # added to the seed: that of no model and no image
FIRST = 5  # ranks of the second metric


def evaluate_images(
    embed: ImageEmbedder,
    vectors: Tensor,
    images: Mapping[str, Sequence[Image.Image]],
    classifier: IndependentClassifier | None,
    *,
    seeds: int,
    seed: int,
    controls: bool,
) -> dict[str, dict[str, object]]:
    """Return the metrics of each way of making images: fractions with their chance, and 95 % intervals over texts.

    Args:
        embed: the tower that made them.
        vectors: (n, d) the targets.
        images: by way, those of all targets for each seed. Those of `PERMUTED` were made for the next target.
        classifier: whose classes are the targets, if there is one.
        seeds: images of each target.
        seed: of the intervals.
        controls: also find the nearest training image.
    """
    count = len(vectors)
    distances = nearest_distances(images) if controls else {}
    results: dict[str, dict[str, object]] = {}
    for name, own in images.items():
        labels = np.tile(np.arange(count), seeds)
        wanted = (labels + 1) % count if name == PERMUTED else labels
        interval = partial(image_interval, images=labels, seed=seed)
        embeddings = embed.embed_images(own)
        rankings = {"own": rank_by_embedding(embeddings, vectors)}
        if classifier is not None:
            rankings["classifier"] = classifier.rank(own)
        found: dict[str, object] = {"n": len(own)}
        found["cosine"] = float((embeddings * vectors[wanted]).sum(dim=1).mean())
        found["total_variation"] = mean_variation(embed, own)
        for ranker, ranked in rankings.items() if count > 1 else ():
            columns = {f"{ranker}_top_1": hits(ranked, wanted, 1), f"{ranker}_top_{FIRST}": hits(ranked, wanted, FIRST)}
            if name == PERMUTED:
                columns[f"{ranker}_original_top_1"] = hits(ranked, labels, 1)
            for column, values in columns.items():
                found |= {column: float(values.mean()), f"{column}_interval": interval(values)}
        if name in distances:
            found["nearest_training_distance"] = float(distances[name].min())
        results[name] = found
    chance: dict[str, object] = {"chance_top_1": 1 / count, f"chance_top_{FIRST}": min(1.0, FIRST / count)}
    if classifier is not None:
        chance["classifier_accuracy_on_drawings"] = classifier.accuracy
    return {**results, "chance": chance}


def open_classifier(texts: Sequence[str], *, seed: int) -> IndependentClassifier | None:
    """Return a classifier, trained with another seed, of the drawings that the texts name; None unless all name one.

    Raises:
        ValueError: it cannot tell the drawings apart, or names one that has none to train on.
    """
    concepts = find_concepts(texts)
    return None if concepts is None else train_classifier(concepts, seed=seed + CLASSIFIER_SEED, progress=True)


def check_controls(found: Mapping[str, OptimizedImages]) -> None:
    """Raise as what stopped one of the controls does.

    Raises:
        KeyboardInterrupt: one was interrupted.
        SystemExit: with 3, the loss of one was not finite.
    """
    stops = {name: result.stopped for name, result in found.items() if result.stopped}
    if "interrupted" in stops.values():
        raise KeyboardInterrupt
    if stops:
        print(f"Stopped: the loss is not finite in the control {', '.join(stops)}.", file=sys.stderr)
        raise SystemExit(NON_FINITE)


def nearest_distances(images: Mapping[str, Sequence[Image.Image]]) -> dict[str, np.ndarray]:
    """Return the distances (n,) of the images of each way to the nearest training image."""
    found = nearest_training_distances([image for own in images.values() for image in own], progress=True)
    return dict(zip(images, np.split(found, np.cumsum([len(own) for own in images.values()])[:-1]), strict=True))


@torch.inference_mode()
def mean_variation(embed: ImageEmbedder, images: Sequence[Image.Image]) -> float:
    """Return the mean total variation of images as the tower sees them."""
    seen = (embed.resize(pil_to_tensor(image)[None].to(embed.model.device) / 255) for image in images)
    return float(torch.cat([total_variation(image) for image in seen]).mean())


__all__ = [
    "MIN_TEXTS",
    "PERMUTED",
    "RANDOM_TOWER",
    "check_controls",
    "evaluate_images",
    "mean_variation",
    "nearest_distances",
    "open_classifier",
]
