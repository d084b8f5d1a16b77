"""Top-k accuracy of classification as an `evaluate` module: is the right class among the k with the highest scores?"""

from collections.abc import Sequence

import datasets
import evaluate
import numpy as np

from .caption_recall import recall_at_k

_DESCRIPTION = """
How often the right class is among the k classes with the highest scores, in percent, beside what chance reaches. Scores
may be logits, probabilities or similarities. A tie with a wrong class counts against the model.
"""
_CITATION = """
@article{russakovsky2015imagenet,
    title = {{ImageNet} Large Scale Visual Recognition Challenge},
    author = {Russakovsky, Olga and others},
    journal = {International Journal of Computer Vision},
    volume = {115},
    number = {3},
    pages = {211--252},
    year = {2015}
}
"""
_INPUTS = """
Args:
    predictions: (n, classes) the score of every class, higher = more likely.
    references: (n,) the index of the right class.
    ks: how many guesses are allowed, 1 and 5 unless given.

Returns:
    `top-k` and `chance_top-k` for every k, in percent.
"""


class TopKAccuracy(evaluate.Metric):
    """`compute(predictions=logits, references=labels, ks=(1, 5))` gives `top-1`, `top-5` and what chance reaches."""

    def _info(self) -> evaluate.MetricInfo:
        scores = datasets.Sequence(datasets.Value("float32"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": scores, "references": datasets.Value("int64")}),
        )

    def _compute(
        self, predictions: list[list[float]], references: list[int], ks: Sequence[int] = (1, 5)
    ) -> dict[str, float]:
        if not predictions:
            raise ValueError("There are no predictions to score.")
        classes = len(predictions[0])
        for row, (scores, label) in enumerate(zip(predictions, references, strict=True)):
            if len(scores) != classes:
                raise ValueError(f"Row {row} has {len(scores)} scores and row 0 has {classes}; every class has one.")
            if not 0 <= label < classes:
                raise ValueError(f"Row {row} has the label {label}, but the classes are 0 to {classes - 1}.")
        right = np.asarray(references)[:, None] == np.arange(classes)
        recalls = recall_at_k(np.asarray(predictions, dtype=np.float32), right, ks)
        return {name.replace("R@", "top-"): value for name, value in recalls.items()}


__all__ = ["TopKAccuracy"]
