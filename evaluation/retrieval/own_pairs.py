"""Evaluate a model on pairs of the user's own: images by captions and captions by images, beside chance."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...data.files.model_folder import PROCESSOR, detect_model_type, open_pretrained
from ...data.pairs.load import read_pairs
from ...data.pairs.readers import find_pair_files
from ...data.pairs.splits import HELD_OUT, hold_out
from ...data.regions.load import read_regions
from ...data.regions.lookup import RegionFinder
from ...data.rows.report import BadRowError, BadRowReport
from ...data.rows.vocabulary import VocabularyCounts, check_vocabulary
from ...modeling_brivl.modeling_brivl import BriVLModel
from ...modeling_mlmm.retrieval import MLMMForImageTextRetrieval
from ...pipelines.embedding import embed_images, embed_texts
from ...pipelines.open_brivl import open_brivl
from ...pipelines.pair_scoring import PairScorer
from ...processing.image_decoding import decode_image
from ...processing.processing_brivl import BriVLProcessor
from ...processing.processing_mlmm import MLMMProcessor
from ...processing.regions.feature_extractor import RegionFeatureExtractor
from .confidence_interval import draw_recalls, percent_interval
from .pair_set import PairSet, blocks
from .recall import best_ranks, rank_recalls

if TYPE_CHECKING:
    from datasets import Dataset

KS = (1, 5, 10)
DIRECTIONS = {"i2t": "image → text", "t2i": "text → image"}

Scores = Callable[[slice], np.ndarray]  # of some queries with all candidates, (queries, candidates)


@dataclass(frozen=True)
class PairScores:
    """Scores of all captions with all images of a set, higher = they match better.

    Attributes:
        t2i: scores of some captions with all images.
        i2t: scores of some images with all captions.
    """

    t2i: Scores
    i2t: Scores

    @classmethod
    def of_brivl(
        cls,
        model: BriVLModel,
        processor: BriVLProcessor,
        pairs: PairSet,
        *,
        detector: RegionFeatureExtractor | None = None,
        batch_size: int = 32,
        progress: bool = True,
    ) -> "PairScores":
        """Return the cosines of all embeddings; the arguments are those of `embed_images`."""
        found = embed_images(
            model, processor, pairs.images(), detector=detector, batch_size=batch_size, progress=progress
        )
        images = found.double().numpy()
        texts = embed_texts(model, processor, pairs.texts, batch_size=batch_size, progress=progress).double().numpy()
        return cls(lambda rows: texts[rows] @ images.T, lambda rows: images[rows] @ texts.T)

    @classmethod
    def of_mlmm(
        cls,
        model: MLMMForImageTextRetrieval,
        processor: MLMMProcessor,
        pairs: PairSet,
        regions: "Dataset",
        *,
        batch_size: int = 256,
    ) -> "PairScores":
        """Return the scores of all pairs; `rows` of the set hold `region_row`, the row of `regions` of each image."""
        places = [pairs.rows[int(place)]["region_row"] for place in pairs.row_of_image]
        scorer = PairScorer(model, processor, regions.select(places), batch_size=batch_size)
        matrix = np.concatenate([scorer(pairs.texts[rows]).numpy() for rows in blocks(len(pairs.texts), len(places))])
        return cls(lambda rows: matrix[rows], lambda rows: matrix.T[rows])


@dataclass
class PairEvaluation:
    """Metrics of a model on pairs; `str()` makes a table of them.

    Attributes:
        metrics: percentages `i2t_R@1`, `i2t_chance_R@1` ... and `t2i_...`, `mean_recall`, `chance_mean_recall`; ranks
            from 1, `i2t_median_rank`, `i2t_mean_rank` ...; `intervals` at 95 % of the recalls; and how many pairs,
            images and captions there were.
        vocabulary: what the tokenizer knows of the captions.
        report: what was left out.
        pairs, scores: what was evaluated.
    """

    metrics: dict[str, Any]
    vocabulary: VocabularyCounts
    report: BadRowReport
    pairs: PairSet
    scores: PairScores

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return self.metrics | {"vocabulary": self.vocabulary.to_dict(), "data": self.report.to_dict()}

    def __str__(self) -> str:
        found = self.metrics
        lines = [f"{'':14}" + "".join(f"{name:20}" for name in (*(f"R@{k}" for k in KS), "median / mean rank"))]
        for direction, title in DIRECTIONS.items():
            cells = [_cell(found, f"{direction}_R@{k}") for k in KS]
            cells.append(f"{found[f'{direction}_median_rank']:g} / {found[f'{direction}_mean_rank']:.1f}")
            lines.append(f"{title:14}" + "".join(f"{cell:20}" for cell in cells))
            chance = (f"{found[f'{direction}_chance_R@{k}']:.1f}" for k in KS)
            lines.append(f"{'  chance':14}" + "".join(f"{cell:20}" for cell in chance))
        lines.append(f"{'mean recall':14}{_cell(found, 'mean_recall'):20}chance {found['chance_mean_recall']:.1f}")
        about = f"{found['images']:,} images, {found['captions']:,} captions, {found['pairs']:,} pairs"
        lines.append(f"Percent of {about}; in brackets 95 % intervals of a bootstrap over images.")
        if shared := found["shared_captions"]:
            lines.append(f"{shared:,} captions are those of several images; each of these counts as right.")
        counts = self.vocabulary
        unknown = f"unknown to the tokenizer {counts.unknown_fraction:.1%} (in {counts.unknown_text_fraction:.0%} of "
        lines.append(f"Tokens: {unknown}the captions); cut at {counts.max_tokens} {counts.cut_fraction:.1%} of them.")
        return "\n".join(line.rstrip() for line in lines)


def read_evaluation_rows(
    source: str | Path, *, split: str | None = None, max_bad_fraction: float = 0.1, **options: Any
) -> "tuple[Dataset, BadRowReport]":
    """Return the rows to evaluate on, and what was left out.

    Args:
        source: as for `read_pairs`.
        split: of a file with a column `split`, by default test; of one without it, "held-out" for the images that
            `hold_out` keeps from training, by default all.
        max_bad_fraction: stop if a greater fraction of the rows is bad.
        **options: image_root, image_column, text_column and encoding of `read_pairs`.

    Raises:
        FileNotFoundError, ValueError, TooManyBadRowsError: as `read_pairs`.
    """
    options |= {"check_image": decode_image, "max_bad_fraction": max_bad_fraction, "log": False}  # the caller shows it
    is_held_out = split == HELD_OUT
    rows, report = read_pairs(source, split=None if is_held_out else split or "test", **options)
    if is_held_out and report.has_splits:
        raise ValueError(f"{source} has a column split, so nothing of it is held out; give --split test, or another.")
    if split and not is_held_out and not report.has_splits:
        raise ValueError(f"{source} has no column split; leave --split out, or give held-out.")
    return (hold_out(rows)[1] if is_held_out else rows), report


def evaluate_model(
    name: str,
    source: str | Path,
    *,
    split: str | None = None,
    image_root: str | Path | None = None,
    image_column: str = "image",
    text_column: str = "text",
    encoding: str | None = None,
    detector: str | None = None,
    regions: str | None = None,
    max_bad_fraction: float = 0.1,
    batch_size: int = 32,
) -> PairEvaluation:
    """Return the metrics of a model on pairs of one's own.

    Args:
        name: folder or hub id of a BriVL, or of an MLMM.
        source, split, image_root, image_column, text_column, encoding, max_bad_fraction: see `read_evaluation_rows`.
        detector: folder or hub id of the region detector whose boxes a BriVL 1.0 looks at.
        regions: folder of the regions that an MLMM looks at, under the paths of the images.
        batch_size: images, or captions, at a time.

    Raises:
        MissingModelError, ValueError: no such model, or nothing to evaluate it on; see also `read_pairs`.
    """
    kind = detect_model_type(name)
    if kind not in ("brivl", "mlmm"):
        raise ValueError(f"{name} holds a model of type {kind!r}; give a BriVL or an MLMM.")
    if kind == "mlmm" and regions is None:
        raise ValueError(
            "An MLMM looks at regions; give --regions FOLDER, which this writes: wenlan extract-regions IMAGES "
            "--output FOLDER --model DETECTOR"
        )
    if (kind == "mlmm" and detector) or (kind == "brivl" and regions):
        raise ValueError("--regions is for an MLMM, --detector for a BriVL.")
    options = {"image_root": image_root, "image_column": image_column, "text_column": text_column, "encoding": encoding}
    rows, report = read_evaluation_rows(source, split=split, max_bad_fraction=max_bad_fraction, **options)
    if kind == "brivl":
        brivl, processor = open_brivl(name)
        boxes = RegionFeatureExtractor.from_pretrained(detector) if detector else None
        pairs, limit = PairSet.from_rows(rows), processor.max_text_length
        vocabulary = check_vocabulary(processor.tokenizer, pairs.texts, max_tokens=limit, what="captions")
        scores = PairScores.of_brivl(brivl, processor, pairs, detector=boxes, batch_size=batch_size)
        return evaluate_pairs(pairs, scores, vocabulary, report)
    mlmm: MLMMForImageTextRetrieval = open_pretrained(
        MLMMForImageTextRetrieval, name, is_whole=True, dtype=torch.float32
    )
    reader: MLMMProcessor = open_pretrained(MLMMProcessor, name, file=PROCESSOR)
    found = read_regions(str(regions))
    root = Path(image_root) if image_root is not None else find_pair_files(Path(source))[0].parent
    pairs = PairSet.from_rows(_join_regions(rows, found, report, root.absolute(), max_bad_fraction))
    limit = reader.max_text_length + reader.tokenizer.num_special_tokens_to_add()
    vocabulary = check_vocabulary(reader.tokenizer, pairs.texts, max_tokens=limit, what="captions")
    scores = PairScores.of_mlmm(mlmm, reader, pairs, found, batch_size=batch_size)
    return evaluate_pairs(pairs, scores, vocabulary, report)


def _join_regions(
    rows: "Dataset", regions: "Dataset", report: BadRowReport, root: Path, max_bad_fraction: float
) -> "Dataset":
    """Return the rows whose image has regions, with `region_row`; the others are counted in the report."""
    import datasets

    names = regions.with_format(None)["image_id"]
    finder = RegionFinder({name: place for place, name in enumerate(names)}, report.source)
    kept, places = [], []
    images = rows.cast_column("image", datasets.Image(decode=False))["image"]
    for index, (image, row) in enumerate(zip(images, rows["row_number"], strict=True)):
        path = Path(image["path"] or "")
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
        if (place := finder.find(name)) >= 0:
            kept.append(index)
            places.append(place)
        else:
            report.keep_rows(-1)
            report.add_bad_row(BadRowError("no regions", f"none are of {name[:80]}"), row)
    report.raise_above(max_bad_fraction)
    return rows.select(kept).add_column("region_row", places)


def evaluate_pairs(
    pairs: PairSet, scores: PairScores, vocabulary: VocabularyCounts, report: BadRowReport
) -> PairEvaluation:
    """Return the metrics of scores.

    A caption is right if it finds an image that has it, an image if it finds one of its captions; equal captions are
    one. Ties count as wrong.

    Args:
        pairs, scores: what is evaluated.
        vocabulary, report: to be shown.

    Raises:
        ValueError: a score is not finite.
    """
    num_images, num_texts = len(pairs.row_of_image), len(pairs.texts)
    ranks = {
        "i2t": _ranks(scores.i2t, pairs.relevant_texts, num_images, num_texts),
        "t2i": _ranks(scores.t2i, pairs.relevant_images, num_texts, num_images),
    }
    right = {"i2t": (pairs.texts_of_images, num_texts), "t2i": (pairs.images_of_texts, num_images)}
    metrics: dict[str, Any] = {"pairs": pairs.num_pairs, "images": num_images, "captions": num_texts}
    metrics["shared_captions"] = int((pairs.images_of_texts > 1).sum())
    for direction, found in ranks.items():
        by_rank = rank_recalls(found, *right[direction], KS)
        metrics |= {f"{direction}_{name}": value for name, value in by_rank.items()}
        metrics[f"{direction}_median_rank"] = float(np.median(found)) + 1
        metrics[f"{direction}_mean_rank"] = float(found.mean()) + 1
    for chance in ("", "chance_"):
        recalls = [metrics[f"{direction}_{chance}R@{k}"] for direction in DIRECTIONS for k in KS]
        metrics[f"{chance}mean_recall"] = float(np.mean(recalls))
    metrics["intervals"] = _intervals(pairs, ranks)
    return PairEvaluation(metrics, vocabulary, report, pairs, scores)


def _ranks(scores: Scores, relevant: Callable[[slice], np.ndarray], queries: int, candidates: int) -> np.ndarray:
    """Return (queries,) the rank, from 0, of the best right candidate of each query."""
    found = []
    for rows in blocks(queries, candidates):
        block = scores(rows)
        if not np.isfinite(block).all():
            raise ValueError("The scores hold NaN or infinity: the model is broken.")
        found.append(best_ranks(block, relevant(rows)))
    return np.concatenate(found)


def _intervals(pairs: PairSet, ranks: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """Return the intervals of all recalls; a caption of several images counts a part for each of them."""
    hits = {direction: np.stack([found < k for k in KS], axis=1).astype(float) for direction, found in ranks.items()}
    text, image = pairs.links.T
    weights = 1 / pairs.images_of_texts[text]
    sums = [np.bincount(image, weights * hits["t2i"][text, column]) for column in range(len(KS))]
    drawn = draw_recalls(hits["i2t"], np.stack(sums, axis=1), np.bincount(image, weights))
    found = {
        f"{direction}_R@{k}": percent_interval(drawn[:, side, column])
        for side, direction in enumerate(DIRECTIONS)
        for column, k in enumerate(KS)
    }
    return found | {"mean_recall": percent_interval(drawn.mean(axis=(1, 2)))}


def _cell(metrics: dict[str, Any], name: str) -> str:
    low, high = metrics["intervals"][name]
    return f"{metrics[name]:.1f} ({low:.1f}-{high:.1f})"


__all__ = ["PairEvaluation", "PairScores", "evaluate_model", "evaluate_pairs", "read_evaluation_rows"]
