"""Quality against latency of two stages: the first k candidates of a two-tower model, re-ranked by a single tower.

Without candidates (k = 0) the ranking is that of the two towers, with all N that of the single tower.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from .rerank import combine

KS = (1, 5, 10, 20, 50, 100)  # and all
WARM_UP = 2  # queries that are not counted


@dataclass(frozen=True)
class HybridPoint:
    """The result of re-ranking k candidates.

    Attributes:
        k: candidates; 0: the two-tower model alone.
        r1, r5, r10: percent of the queries whose right image is among the first 1, 5 and 10.
        mrr: mean of 1 / rank, in percent.
        candidate_recall: percent of the queries whose right image is among the candidates: the bound of `r1`.
        forwards: of the single tower, mean over queries.
        p50_ms, p95_ms: latency of a query.
        slowdown: median over queries of the latency over that without candidates.
    """

    k: int
    r1: float
    r5: float
    r10: float
    mrr: float
    candidate_recall: float
    forwards: float
    p50_ms: float
    p95_ms: float
    slowdown: float

    @classmethod
    def names(cls) -> list[str]:
        """Return the names of the columns of a table of points."""
        return [field.name for field in fields(cls)]


def choose_ks(total: int, ks: Sequence[int] = KS) -> list[int]:
    """Return the numbers of candidates of a curve: 0, those of `ks` below the total, and the total.

    Raises:
        ValueError: a number is below 1, or there is no image.
    """
    if total < 1 or min(ks, default=1) < 1:
        raise ValueError(f"The numbers of candidates are {list(ks)} of {total} images; give numbers of 1 or more.")
    return [0, *sorted({k for k in ks if k < total}), total]


def rank_of_right(first: np.ndarray, second: np.ndarray, place: int, *, k: int, weight: float | None = None) -> int:
    """Return the rank, from 0, of the right image when the first k candidates are re-ranked.

    Behind them stand the others, as the first stage had them.

    Args:
        first: (n,) scores of the first stage, the best first.
        second: (n,) scores of the second stage; NaN = unscored.
        place: of the right image in the order of the first stage.
        k: candidates.
        weight: as for `combine`.
    """
    if place >= k:
        return place
    order = combine(first[:k], second[:k], weight).order
    return int(np.flatnonzero(order == place)[0])


def quality(ranks: np.ndarray, places: np.ndarray, k: int) -> dict[str, float]:
    """Return R@1, 5, 10, MRR and the recall of the candidates in percent, under the names of `HybridPoint`.

    Args:
        ranks: (q,) from 0, of the right images.
        places: (q,) their ranks in the first stage.
        k: candidates.
    """
    recalls = {f"r{n}": 100 * float((ranks < n).mean()) for n in (1, 5, 10)}
    candidate_recall = 100 * float((places < max(k, 1)).mean())
    return recalls | {"mrr": 100 * float((1 / (ranks + 1)).mean()), "candidate_recall": candidate_recall}


def time_in_turn(ways: Mapping[int, Callable[[int], object]], queries: int) -> dict[int, np.ndarray]:
    """Return (queries,) milliseconds of each way with each query, the ways in turn, so that drift slows all alike.

    Args:
        ways: name -> function of a query's number.
        queries: how many; the first `WARM_UP` are run once more before.
    """
    milliseconds: dict[int, list[float]] = {name: [] for name in ways}
    for query in [*range(min(WARM_UP, queries)), *range(queries)]:
        for name, way in ways.items():
            started = time.perf_counter()
            way(query)
            milliseconds[name].append(1000 * (time.perf_counter() - started))
    return {name: np.array(values[-queries:]) for name, values in milliseconds.items()}


def hybrid_curve(
    first_stage: Callable[[int, int], tuple[np.ndarray, list[str]]],
    second_stage: Callable[[int, list[str]], np.ndarray],
    right: Sequence[str],
    *,
    total: int,
    ks: Sequence[int] = KS,
    weight: float | None = None,
    timed_queries: int = 50,
    count_forwards: Callable[[], int] | None = None,
    progress: Callable[[str], object] = lambda _: None,
) -> tuple[list[HybridPoint], np.ndarray]:
    """Return a point for each number of candidates, and (q, points) the ranks of the right images.

    Every pair is scored once for the quality; the latency is measured on the first queries, each of which goes through
    both stages once for each number of candidates.

    Args:
        first_stage: (number of a query, n) -> the (n,) scores of the n best images, the best first, and their ids.
        second_stage: (number of a query, ids) -> the (n,) scores of these images.
        right: of each query the id of the right image.
        total: number of images, N.
        ks: numbers of candidates; 0 and N come in any case.
        weight: as for `combine`.
        timed_queries: how many queries are timed.
        count_forwards: pairs that the second stage has scored so far; by default it is taken to score every candidate.
        progress: gets a line now and then.

    Raises:
        ValueError: there is no query, or the right image of one is not among the images; or as `choose_ks`.
    """
    if not right:
        raise ValueError("There is no query.")
    chosen, scored = choose_ks(total, ks), []
    for query, image in enumerate(right):
        first, images = first_stage(query, total)
        if image not in images:
            raise ValueError(f"The right image of query {query}, {image}, is not among the {len(images)} images.")
        scored.append((first, second_stage(query, images), images.index(image)))
        if (query + 1) % 50 == 0:
            progress(f"{query + 1} of {len(right)} queries scored with all {total} images")
    places = np.array([place for _, _, place in scored])
    ranks = np.array([[rank_of_right(*one, k=k, weight=weight) for k in chosen] for one in scored])

    forwards: dict[int, int] = dict.fromkeys(chosen, 0)

    def search(k: int) -> Callable[[int], object]:
        def run(query: int) -> object:
            first, images = first_stage(query, max(k, 1))
            if k == 0:
                return images
            before = count_forwards() if count_forwards else 0
            order = combine(first, second_stage(query, images), weight).order
            forwards[k] += (count_forwards() - before) if count_forwards else len(images)
            return [images[at] for at in order]

        return run

    number = min(timed_queries, len(right))
    spent = time_in_turn({k: search(k) for k in chosen}, number)
    runs = number + min(WARM_UP, number)
    points = [
        HybridPoint(
            k=k,
            **quality(ranks[:, at], places, k),
            forwards=forwards[k] / runs,
            p50_ms=float(np.median(spent[k])),
            p95_ms=float(np.percentile(spent[k], 95)),
            slowdown=float(np.median(spent[k] / spent[0])),
        )
        for at, k in enumerate(chosen)
    ]
    return points, ranks


__all__ = ["KS", "HybridPoint", "choose_ks", "hybrid_curve", "quality", "rank_of_right", "time_in_turn"]
