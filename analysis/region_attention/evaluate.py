"""Metrics and table of figure 6 over many scenes, each with its controls beside it."""

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from .attention import Layer
from .pointing import LayerWeights, collect_points
from .scenes import AttentionScene
from .similarity import Interval, language_pairs, summarize_pairs
from .words import Span

MODEL, RANDOM_MODEL, OTHER_SENTENCE = "model", "random_model", "other_sentence"
COLUMNS = ("image", "language", "word", "region", "x1", "y1", "x2", "y2", "weight", "is_of_class")


def evaluate_layer(
    scenes: Sequence[AttentionScene], runs: Mapping[str, Sequence[LayerWeights]], layer: Layer, interval: Interval
) -> dict[str, Mapping[str, object]]:
    """Return pointing by language and "all", and the agreement of languages, of a layer.

    Args:
        scenes: with known classes.
        runs: of the model, and of the controls, random weights and the sentence of another image: the attention of
            each scene.
        layer: one of theirs.
        interval: of a mean over scenes.
    """
    weights = {run: [found[layer] for found in all_] for run, all_ in runs.items()}
    points = {run: collect_points(scenes, found) for run, found in weights.items()}
    pointing = {
        language: {**own.metrics(interval), **_controls({run: points[run][language].metrics(interval) for run in runs})}
        for language, own in points[MODEL].items()
    }
    agreement: dict[str, dict[str, object]] = {
        run: summarize_pairs([language_pairs(one) for one in weights[run]], interval) for run in (MODEL, RANDOM_MODEL)
    }
    return {"pointing": pointing, "similarity": {**agreement[MODEL], **_controls(agreement)}}


def table_rows(
    image: str,
    texts: Mapping[str, str],
    spans: Mapping[str, Sequence[Span]],
    weights: Mapping[str, Tensor],
    boxes: Tensor,
    is_of_class: Tensor | None = None,
) -> Iterator[list[object]]:
    """Yield the rows of `COLUMNS`: the weight of each region for each word of each language.

    Args:
        image: its name.
        texts, spans: of each language, the sentence and the places of its k words.
        weights: of each language, (k, n).
        boxes: (n, 4) of the regions.
        is_of_class: (k, n) bool, True = the region is of the class that the word names; None: not known.
    """
    corners = [[round(side, 1) for side in box] for box in boxes.tolist()]
    for language, found in weights.items():
        for word, (first, last) in enumerate(spans[language]):
            for region, corner in enumerate(corners):
                known = "" if is_of_class is None else int(is_of_class[word, region])
                weight = f"{float(found[word, region]):.6f}"
                yield [image, language, texts[language][first:last], region, *corner, weight, known]


def _controls(runs: Mapping[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    return {run: found for run, found in runs.items() if run != MODEL}


__all__ = ["COLUMNS", "MODEL", "OTHER_SENTENCE", "RANDOM_MODEL", "evaluate_layer", "table_rows"]
