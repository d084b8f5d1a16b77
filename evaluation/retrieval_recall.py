"""Recall@k of image-text retrieval in both directions, each beside its chance level, as an `evaluate` module."""

import datasets
import evaluate
import numpy as np

_DESCRIPTION = "Recall@k of image-to-text and text-to-image retrieval over embeddings, in percent."
_CITATION = ""
_INPUTS = """
Args:
    predictions: image embeddings, (pairs, d).
    references: text embeddings, (pairs, d); text i belongs to picture i.
    image_ids: optional (pairs,); equal ids are the same picture with several texts, all of which are right.
    ks: the ranks to report.
"""


def recall_at_k(similarity: np.ndarray, relevant: np.ndarray, ks: tuple[int, ...] = (1, 5, 10)) -> dict[str, float]:
    """Returns the percentage of queries with a relevant candidate among the first k, and what chance would reach.

    A tie with a candidate that is not relevant counts against the query, so a collapsed model scores 0.

    Args:
        similarity: (queries, candidates).
        relevant: (queries, candidates) bool, at least one per query.
        ks: the ranks to report.

    Returns:
        `R@k` and `chance_R@k` for every k, in percent.

    Raises:
        ValueError: for similarities that are not finite, or a query without a relevant candidate.
    """
    if not np.isfinite(similarity).all():
        raise ValueError("The similarities hold NaN or infinity: the embeddings are broken.")
    if not relevant.any(axis=1).all():
        raise ValueError(f"Query {int(np.argmin(relevant.any(axis=1)))} has no relevant candidate.")
    best = np.where(relevant, similarity, -np.inf).max(axis=1, keepdims=True)
    rank = ((similarity >= best) & ~relevant).sum(axis=1)
    candidates, right = similarity.shape[1], relevant.sum(axis=1)
    recalls = {f"R@{k}": 100 * float((rank < k).mean()) for k in ks}
    for k in ks:
        # 1 - probability that k draws without replacement miss all relevant candidates
        misses = [np.prod([(candidates - r - i) / (candidates - i) for i in range(min(k, candidates))]) for r in right]
        recalls[f"chance_R@{k}"] = 100 * (1 - float(np.mean(misses)))
    return recalls


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
        unique, first, image_of_text = np.unique(ids, return_index=True, return_inverse=True)
        similarity = images[first] @ texts.T
        relevant = np.arange(len(unique))[:, None] == image_of_text
        results = {f"i2t_{name}": value for name, value in recall_at_k(similarity, relevant, ks).items()}
        results |= {f"t2i_{name}": value for name, value in recall_at_k(similarity.T, relevant.T, ks).items()}
        results["mean_recall"] = float(np.mean([v for name, v in results.items() if "chance" not in name]))
        return results


__all__ = ["RetrievalRecall", "recall_at_k"]
