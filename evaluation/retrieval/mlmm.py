"""Retrieval metrics of MLMM, images by captions and captions by images: the protocol of the paper's table 3."""

from collections import Counter
from pathlib import Path

import torch

from ...data.mlmm.corpus import MLMMCorpus
from ...data.rows.report import BadRowError, BadRowReport
from ...modeling_mlmm.retrieval import MLMMForImageTextRetrieval
from ...pipelines.pair_scoring import PairScorer
from ...processing.processing_mlmm import MLMMProcessor
from ...processing.region_inputs import RegionError, read_regions_of
from .benchmark import RetrievalTest, choose_captions, evaluate_folds
from .score_matrix import describe_scores, score_matrix


def make_retrieval_test(
    corpus: MLMMCorpus,
    language: str,
    *,
    caption: int = 0,
    max_images: int = 0,
    feature_dim: int | None = None,
    max_bad_fraction: float = 0.1,
) -> tuple[RetrievalTest, Counter[str]]:
    """Return the test of a language, and how many images were left out by cause: their regions cannot be read.

    Args:
        corpus, language: whose captions are taken.
        caption: as for `choose_captions`.
        max_images: only the first so many images of the corpus; 0: all.
        feature_dim: width that features must have.
        max_bad_fraction: of the images that may be left out.

    Raises:
        TooManyBadRowsError: more images are left out, or all.
    """
    table, bad = corpus.captions[language], BadRowReport(f"{corpus.name}, {language}, images to evaluate on")
    places = []
    for place in corpus.images[: max_images or None].tolist():
        try:
            read_regions_of(corpus.read_images([place])[0], f"Image {place}", feature_dim=feature_dim)
            places.append(place)
            bad.keep_rows()
        except RegionError as error:
            bad.add_bad_row(BadRowError.of_image(error))
    bad.raise_above(max_bad_fraction)
    texts = [table.text(index) for index in range(len(table))]
    test = RetrievalTest(*choose_captions(table.images.tolist(), texts, places, caption=caption))
    if not test.texts:
        raise ValueError(f"{corpus.name}, {language}: no image to evaluate on; left out: {dict(bad.counts)}.")
    return test, bad.counts


def evaluate_mlmm_retrieval(
    model: MLMMForImageTextRetrieval,
    processor: MLMMProcessor,
    corpus: MLMMCorpus,
    test: RetrievalTest,
    *,
    folds: int = 1,
    folder: Path | None = None,
    name: str = "scores",
    batch_size: int = 256,
    dtype: torch.dtype = torch.float32,
    blind: bool = False,
    progress: bool = False,
) -> dict[str, float | list[float]]:
    """Return the metrics of `evaluate_folds` from the scores of all pairs.

    Args:
        model, processor, corpus: what is evaluated; the corpus has the regions.
        test: from `make_retrieval_test`.
        folds: parts that are evaluated on their own.
        folder, name: where scores are kept, so that a killed run resumes, and their name there; None: nowhere.
        batch_size, dtype, blind: as for `PairScorer`.
        progress: show a bar.
    """
    scored = []
    for fold in test.folds(folds):
        images = corpus.read_images(fold.images)
        scorer = PairScorer(model, processor, images, batch_size=batch_size, dtype=dtype, blind=blind)
        if folder is None:
            scores = scorer(fold.texts).numpy()
        else:
            shards = folder / f"{name}-{describe_scores(scorer, fold.texts)['scores']}"
            scores = score_matrix(scorer, fold.texts, shards, progress=progress)
        scored.append((scores, fold.owners))
    return evaluate_folds(scored)


__all__ = ["evaluate_mlmm_retrieval", "make_retrieval_test"]
