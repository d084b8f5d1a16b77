"""The pointing game: is the region that a word attends to most one of the class that the word names?

Chance is the fraction of an image's regions that are of that class. Two controls look at the same regions: a model with
random weights, and the sentence of another image, whose words name nothing that is there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...modeling_mlmm.modeling_mlmm import MLMMPreTrainedModel
from ...processing.processing_mlmm import MLMMProcessor
from .attention import Heads, Layer, joint_attentions
from .scenes import AttentionScene
from .similarity import Interval

LayerWeights = dict[Layer, dict[str, Tensor]]  # layer -> language -> (k, n) of k words over n regions


@dataclass(frozen=True)
class Points:
    """Results of the words of many scenes.

    Attributes:
        hits: (m,) bool.
        chances: (m,) fraction of the regions that are of the class.
        scenes: (m,) number of the scene.
    """

    hits: np.ndarray
    chances: np.ndarray
    scenes: np.ndarray

    def metrics(self, interval: Interval) -> dict[str, object]:
        """Return words, accuracy with its interval, chance, and how many times chance the accuracy is."""
        if not len(self.hits):
            return {"words": 0, "accuracy": None, "interval": None, "chance": None, "times_chance": None}
        accuracy, chance = float(self.hits.mean()), float(self.chances.mean())
        return {
            "words": len(self.hits),
            "accuracy": accuracy,
            "interval": interval(self.hits.astype(float), self.scenes),
            "chance": chance,
            "times_chance": accuracy / chance,
        }


def word_weights(
    model: MLMMPreTrainedModel,
    processor: MLMMProcessor,
    scene: AttentionScene,
    layers: Sequence[Layer] = (-1,),
    heads: Heads = "mean",
) -> LayerWeights:
    """Return the attention of the words of a scene's sentences to its regions, by layer and language."""
    joint = joint_attentions(model, processor, list(scene.texts.values()), regions=scene.regions)
    weights: LayerWeights = {}
    for layer in layers:
        found = zip(scene.texts, (one.to_regions(layer, heads) for one in joint), strict=True)
        weights[layer] = {
            language: torch.stack([attention.at([span]) for span in scene.spans[language]])
            for language, attention in found
        }
    return weights


def collect_points(scenes: Sequence[AttentionScene], weights: Sequence[Mapping[str, Tensor]]) -> dict[str, Points]:
    """Return the points of each language, and of "all" together, of classes that have some of the regions, not all.

    Args:
        scenes: whose classes are to be pointed at.
        weights: of each scene, language -> (k, n); if words are of another image, word j stands in for class j, and
            the words are taken again from the first where they are too few.
    """
    rows: dict[str, list[tuple[bool, float, int]]] = {}
    for number, (scene, by_language) in enumerate(zip(scenes, weights, strict=True)):
        for language, found in by_language.items():
            best = found.argmax(dim=1)
            for place, right in enumerate(scene.is_of_class):
                if right.any() and not right.all():
                    hit = bool(right[best[place % len(best)]])
                    rows.setdefault(language, []).append((hit, float(right.double().mean()), number))
    rows["all"] = [row for found in rows.values() for row in found]
    return {
        language: Points(*(np.array([row[column] for row in found]) for column in range(3)))
        for language, found in rows.items()
    }


def other_sentences(scenes: Sequence[AttentionScene]) -> list[AttentionScene]:
    """Return the scenes, each with the sentences of the next one that names none of its classes.

    Raises:
        ValueError: a scene shares a class with each other one; take more.
    """
    changed = []
    for number, scene in enumerate(scenes):
        others = [*scenes[number + 1 :], *scenes[:number]]
        other = next((one for one in others if not torch.isin(one.classes, scene.classes).any()), None)
        if other is None:
            raise ValueError(f"Each of {len(scenes)} scenes has a class of scene {number}; take more scenes.")
        changed.append(scene.with_sentences_of(other))
    return changed


__all__ = ["LayerWeights", "Points", "collect_points", "other_sentences", "word_weights"]
