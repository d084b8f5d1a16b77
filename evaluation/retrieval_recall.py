"""Recall@k of image-text retrieval in both directions, each beside its chance level, as an `evaluate` module."""

import datasets
import evaluate
import numpy as np

from .caption_recall import retrieval_recalls

_DESCRIPTION = "Recall@k of image-to-text and text-to-image retrieval over embeddings, in percent."
_CITATION = ""
_INPUTS = """
Args:
    predictions: image embeddings, (pairs, d).
    references: text embeddings, (pairs, d); text i belongs to picture i.
    image_ids: optional (pairs,); equal ids are the same picture with several texts, all of which are right.
    ks: the ranks to report.
"""


class RetrievalRecall(evaluate.Metric):
    """`compute(predictions=image_embeds, references=text_embeds)` gives recalls of both directions and their mean.

    Keys: `i2t_R@k` (picture finds text), `t2i_R@k`, `i2t_chance_R@k`, `t2i_chance_R@k`, `mean_recall`; in percent.
    """

    def _info(self) -> evaluate.MetricInfo:
        vector = datasets.Sequence(datasets.Value("float32"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": vector, "references": vector}),
        )

    def _compute(
        self,
        predictions: list[list[float]],
        references: list[list[float]],
        image_ids: list[int] | None = None,
        ks: tuple[int, ...] = (1, 5, 10),
    ) -> dict[str, float]:
        images, texts = np.asarray(predictions), np.asarray(references)
        ids = np.arange(len(images)) if image_ids is None else np.asarray(image_ids)
        _, first, owners = np.unique(ids, return_index=True, return_inverse=True)
        return retrieval_recalls(texts @ images[first].T, owners, ks=ks)


__all__ = ["RetrievalRecall"]
