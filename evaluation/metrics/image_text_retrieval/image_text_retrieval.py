"""Recall@k between images and their captions as an `evaluate` module: of every text with every image a score."""

from collections.abc import Sequence

import datasets
import evaluate
import numpy as np

from .caption_recall import fold_recalls, retrieval_recalls

_DESCRIPTION = """
Recall@k of text-to-image and image-to-text retrieval from the scores of all pairs, and their mean, in percent. An
image may have several captions: a caption finds its one image, an image any of its captions. Ties count against
the model.
"""
_CITATION = """
@inproceedings{karpathy2015deep,
    title = {Deep Visual-Semantic Alignments for Generating Image Descriptions},
    author = {Karpathy, Andrej and Fei-Fei, Li},
    booktitle = {Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition},
    year = {2015}
}
"""
_INPUTS = """
Args:
    predictions: (texts, images), one row a text: its score with every image, higher = they match better.
    references: (texts,) the index of the image that each text belongs to.
    ks: the ranks to report, 1, 5 and 10 unless given.
    folds: so many equal parts of the images in their order, or the image indices of each part; each part ranks its
        own images and texts only, and the metrics are means over the parts.

Returns:
    `t2i_R@k` (text finds image), `i2t_R@k` (image finds text), `t2i_chance_R@k`, `i2t_chance_R@k` (what random
    scores reach) and `mean_recall`, the mean of the R@k of both directions; in percent.
"""


class ImageTextRetrieval(evaluate.Metric):
    """`compute(predictions=scores, references=owners)` gives the recalls of both directions and their mean."""

    def _info(self) -> evaluate.MetricInfo:
        scores = datasets.Sequence(datasets.Value("float32"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": scores, "references": datasets.Value("int64")}),
        )

    def _compute(
        self,
        predictions: list[list[float]],
        references: list[int],
        ks: Sequence[int] = (1, 5, 10),
        folds: int | Sequence[Sequence[int]] | None = None,
    ) -> dict[str, float]:
        if not predictions:
            raise ValueError("There are no predictions to score.")
        uneven = [row for row, scores in enumerate(predictions) if len(scores) != len(predictions[0])]
        if uneven:
            raise ValueError(
                f"Text {uneven[0]} has {len(predictions[uneven[0]])} scores and text 0 has {len(predictions[0])}; "
                "every text is scored with every image."
            )
        scores, owners = np.asarray(predictions, dtype=np.float32), np.asarray(references)
        if folds is None:
            return retrieval_recalls(scores, owners, ks=ks)
        return fold_recalls(scores, owners, folds, ks=ks)


__all__ = ["ImageTextRetrieval"]
