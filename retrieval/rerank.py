"""The second stage of retrieval: an MLMM scores the candidates that a first stage found, and puts them in order.

*candidate*: an image of the first stage's answer, by its id; *unscored*: without regions, so that it keeps its place
among its like, behind the others.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np
import torch

from ..data.files.model_folder import PROCESSOR, open_pretrained
from ..data.regions.load import RegionShardError, read_region_info, read_regions
from ..data.regions.lookup import RegionFinder
from ..data.regions.schema import RegionInfo
from ..modeling_mlmm.retrieval import MLMMForImageTextRetrieval
from ..pipelines.device import choose_device
from ..pipelines.pair_scoring import PairScorer
from ..processing.image_decoding import ImageDecodingError, decode_image
from ..processing.processing_mlmm import MLMMProcessor
from ..processing.region_inputs import RegionError, list_regions, read_regions_of
from ..processing.regions.feature_extractor import RegionFeatureExtractor
from .hits import Hits

logger = logging.getLogger(__name__)

REGIONS = "regions"  # of an index folder: a folder of shards, or of such folders
COLUMNS = ["image_height", "image_width", "boxes", "features"]
LIMITS = ("min_boxes", "max_boxes", "conf_threshold")  # which boxes are regions
Row = Mapping[str, object]


class Ranking(NamedTuple):
    """Candidates in order.

    Attributes:
        order: (k,) positions of the candidates, best first; unscored ones last, as the first stage had them.
        scores: (k,) what they are ordered by, in the order in which they were given; NaN = unscored.
    """

    order: np.ndarray
    scores: np.ndarray


def combine(first: np.ndarray, second: np.ndarray, weight: float | None = None) -> Ranking:
    """Return the candidates in the order of the second stage, or of both: weight * z(first) + (1 - weight) * z(second).

    z has mean 0 and variance 1 over the scored candidates; equal scores give 0. Equal candidates keep the order in
    which they were given.

    Args:
        first: (k,) scores of the first stage.
        second: (k,) scores of the second one; NaN = unscored.
        weight: of the first stage, 0 to 1; None: the scores of the second stage as they are.

    Raises:
        ValueError: the weight is out of range, or the scores are not as many.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"There are {first.shape} scores of the first stage and {second.shape} of the second one.")
    if weight is not None and not 0 <= weight <= 1:
        raise ValueError(f"The weight of the first stage is {weight}; it must be 0 to 1.")
    scores, is_scored = second.copy(), ~np.isnan(second)
    if weight is not None:
        scores[is_scored] = weight * _standardize(first[is_scored]) + (1 - weight) * _standardize(second[is_scored])
    return Ranking(np.argsort(-scores, kind="stable"), scores)  # NaN is sorted to the end


def _standardize(scores: np.ndarray) -> np.ndarray:
    spread = scores.std() if len(scores) else 0.0
    return (scores - scores.mean()) / spread if spread > 0 else np.zeros_like(scores)


def rerank_hits(
    hits: Hits, text: str, reranker: Callable[..., np.ndarray], *, weight: float | None = None, k: int | None = None
) -> Hits:
    """Return the first k candidates of a first stage in the order that a second one gives them.

    Args:
        hits: the candidates.
        text: the query.
        reranker: called as `Reranker` is.
        weight: see `combine`.
        k: of the answer; None: all.

    Raises:
        ValueError: there are candidates, and none could be scored.
    """
    scores = np.asarray(reranker(text, [hit.id for hit in hits], [hit.path for hit in hits]))
    if len(hits) and np.isnan(scores).all():
        raise ValueError(
            f"None of the {len(hits)} candidates can be re-ranked: there are no regions of them. Extract them: wenlan "
            "index build IMAGES --regions DETECTOR"
        )
    first = [hit.score if hit.late_score is None else hit.late_score for hit in hits]
    order = combine(np.array(first), scores, weight).order[:k]
    ordered = (replace(hits[at], rerank_score=None if np.isnan(scores[at]) else float(scores[at])) for at in order)
    return Hits(ordered, forwards=int((~np.isnan(scores)).sum()))


def find_region_folders(index: str | PathLike[str]) -> list[Path]:
    """Return the folders of shards in `regions` of an index folder, by name, so that the last one is the latest."""
    folder = Path(index) / REGIONS
    return sorted({shard.parent for shard in [*folder.glob("regions-*.parquet"), *folder.glob("*/regions-*.parquet")]})


class Reranker:
    """Score candidates with an MLMM: one pass through its encoder each.

    Args:
        model: scores pairs; is put into evaluation mode.
        processor: its processor.
        regions: folders of shards that `wenlan extract-regions` wrote, by image id; of an image that occurs twice the
            last counts. Only the rows of candidates are read.
        detector: folder or hub id of the region detector for candidates that are in none of them; by default the one
            that the processor names.
        batch_size: candidates at a time.
        on_bad_shard: as for `read_regions`.

    Attributes:
        forwards: candidates scored so far.
        unscored: candidates that could not be scored so far, by cause.

    Raises:
        FileNotFoundError: a folder holds no shards.
        RegionShardError: as `read_regions`.
        ValueError: regions or a detector are of another detector than the model was trained with; both hashes are
            named. There are neither regions nor a detector.
    """

    def __init__(
        self,
        model: MLMMForImageTextRetrieval,
        processor: MLMMProcessor,
        *,
        regions: Sequence[str | PathLike[str]] = (),
        detector: str | PathLike[str] | None = None,
        batch_size: int = 256,
        on_bad_shard: Literal["raise", "skip"] = "raise",
    ) -> None:
        self.model, self.processor, self.batch_size = model.eval(), processor, batch_size
        self.forwards, self.unscored = 0, Counter[str]()
        self._detector_hash, self._finder = processor.detector_hash, RegionFinder({}, "")
        if regions:
            folders = [Path(folder) for folder in regions]
            rows = read_regions(folders, on_bad_shard=on_bad_shard)
            self._check_info(_read_info(folders, on_bad_shard), ", ".join(map(str, folders)))
            names = rows.with_format(None)["image_id"]
            self._finder = RegionFinder({name: at for at, name in enumerate(names)}, folders[-1])
            self._regions = rows.select_columns(COLUMNS)
        self._has_detector = detector is not None or processor.detector is not None
        if detector is not None:
            processor.region_extractor = RegionFeatureExtractor.from_pretrained(detector, device=model.device)
            self._check_detector(processor.region_extractor.model_hash, str(detector))
        elif not regions and not self._has_detector:
            raise ValueError(
                "The candidates have no regions: extract them with wenlan extract-regions, or name a detector."
            )
        elif not regions:
            self._open_detector()

    @classmethod
    def from_pretrained(
        cls,
        model: str | PathLike[str],
        *,
        index: str | PathLike[str] | None = None,
        regions: Sequence[str | PathLike[str]] = (),
        detector: str | PathLike[str] | None = None,
        batch_size: int = 256,
        device: str | None = None,
        on_bad_shard: Literal["raise", "skip"] = "raise",
    ) -> Self:
        """Open an MLMM, and the regions in an index folder.

        Args:
            model: folder or hub id.
            index: folder with `regions`, which come before the other folders of regions.
            device: of the model; by default a GPU if there is one.
            The rest: as for the class.

        Raises:
            MissingModelError: there is no such model.
            FileNotFoundError, RegionShardError, ValueError: as the class, or the folder holds another model.
        """
        opened = open_pretrained(MLMMForImageTextRetrieval, model, is_whole=True, dtype=torch.float32)
        return cls(
            opened.to(choose_device(device)),
            open_pretrained(MLMMProcessor, model, file=PROCESSOR),
            regions=[*(find_region_folders(index) if index is not None else []), *regions],
            detector=detector,
            batch_size=batch_size,
            on_bad_shard=on_bad_shard,
        )

    def __call__(
        self, text: str, ids: Sequence[str], paths: Sequence[str | PathLike[str] | None] | None = None
    ) -> np.ndarray:
        """Return (k,) float32, the score of each candidate with the text; NaN = unscored, which a warning counts.

        Args:
            text: the query.
            ids: of the candidates, as in the shards of regions, or paths that end so.
            paths: of their images, for those without stored regions; None = not known.

        Raises:
            ValueError: the text is blank, a score is not finite, or there are not as many paths as ids.
        """
        if paths is not None and len(paths) != len(ids):
            raise ValueError(f"There are {len(ids)} candidates and {len(paths)} paths.")
        faults = dict[int, str]()
        places = map(self._finder.find, ids)
        stored = {at: place for at, place in enumerate(places) if place >= 0}
        rows = dict(zip(stored, self._read_stored(list(stored.values())), strict=True))
        missing = [at for at in range(len(ids)) if at not in stored]
        rows |= self._detect({at: paths[at] if paths else None for at in missing}, faults)
        usable = []
        for at, row in sorted(rows.items()):
            try:
                read_regions_of(row, ids[at], feature_dim=self.model.config.region_feature_dim)
                usable.append(at)
            except RegionError as error:
                faults[at] = error.cause
        scores = np.full(len(ids), np.nan, np.float32)
        if usable:
            scorer = PairScorer(self.model, self.processor, [rows[at] for at in usable], batch_size=self.batch_size)
            scores[usable] = scorer([text])[0].numpy()
            self.forwards += len(usable)
        if faults:
            counts = Counter(faults.values())
            self.unscored += counts
            first = min(faults)
            logger.warning(
                "%d of %d candidates are not scored and come last: %s. First: %s",
                len(faults),
                len(ids),
                ", ".join(f"{n} x {cause}" for cause, n in counts.items()),
                ids[first],
            )
        return scores

    def _read_stored(self, places: list[int]) -> list[Row]:
        return self._regions.__getitems__(places) if places else []

    def _detect(self, paths: Mapping[int, str | PathLike[str] | None], faults: dict[int, str]) -> dict[int, Row]:
        """Return the regions that the detector finds in images; `faults` gets the cause for each without them."""
        images = {}
        for at, path in paths.items():
            if path is None or not self._opens_detector():
                faults[at] = "no regions"
                continue
            try:
                images[at] = decode_image(Path(path))
            except ImageDecodingError as error:
                faults[at] = error.cause
        if not images:
            return {}
        limits = {name: getattr(self.processor, name) for name in LIMITS}
        found = list_regions(self.processor.region_extractor.extract(list(images.values()), **limits))
        return dict(zip(images, found, strict=True))

    def _opens_detector(self) -> bool:
        """Return False if no detector is named, or the one that the processor names is not there."""
        if not self._has_detector:
            return False
        try:
            self._open_detector()
        except OSError as error:
            logger.warning("Candidates without stored regions are not scored: %s", error)
            self._has_detector = False
        return self._has_detector

    def _open_detector(self) -> None:
        extractor = self.processor.region_extractor
        self._check_detector(getattr(extractor, "model_hash", None), str(self.processor.detector))

    def _check_info(self, info: RegionInfo, source: str) -> None:
        self._check_detector(info.model_hash, source)
        wanted = {name: getattr(self.processor, name) for name in LIMITS}
        if other := {
            name: info.settings[name] for name in LIMITS if info.settings.get(name, wanted[name]) != wanted[name]
        }:
            wanted = {name: wanted[name] for name in other}
            logger.warning("The regions of %s have %s, and those that the MLMM learnt from %s.", source, other, wanted)

    def _check_detector(self, found: str | None, source: str) -> None:
        wanted = self._detector_hash
        if None not in (found, wanted) and found != wanted:
            raise ValueError(
                f"The regions of {source} are of the detector {found}, and the MLMM was trained on those of {wanted}: "
                "extract them with that one."
            )
        self._detector_hash = wanted or found


def _read_info(folders: Sequence[Path], on_bad_shard: str) -> RegionInfo:
    """Return the description of folders that `read_regions` read together, from the first that can be read."""
    for folder in folders:
        try:
            return read_region_info(folder)
        except RegionShardError:
            if on_bad_shard == "raise":
                raise
    raise AssertionError("read_regions reads one of them")


__all__ = ["Ranking", "Reranker", "combine", "find_region_folders", "rerank_hits"]
