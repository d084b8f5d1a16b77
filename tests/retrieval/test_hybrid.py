import numpy as np
import pytest
from helpers.finetuning.scored_pairs import build_scorer_parts, make_texts
from helpers.mlmm.corpus_files import write_regions
from wenlan.data import read_regions
from wenlan.pipelines.pair_scoring import PairScorer
from wenlan.retrieval.hybrid import HybridPoint, choose_ks, hybrid_curve, quality, rank_of_right, time_in_turn
from wenlan.retrieval.rerank import Reranker

TOTAL, QUERIES = 13, 9
IDS = [f"{number}.png" for number in range(TOTAL)]
TEXTS = make_texts(QUERIES)
RIGHT = [IDS[3 * number % TOTAL] for number in range(QUERIES)]


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """Made-up scores of a first stage, a tiny MLMM behind it, and the scores of all pairs."""
    folder = tmp_path_factory.mktemp("regions")
    write_regions(folder, {name: [number % 4] * (1 + number % 3) for number, name in enumerate(IDS)})
    model, processor, _ = build_scorer_parts()
    reranker = Reranker(model, processor, regions=[folder])
    first = np.random.default_rng(0).normal(size=(QUERIES, TOTAL))
    return first, reranker, PairScorer(model, processor, list(read_regions(folder)))(TEXTS).numpy()


@pytest.fixture(scope="module")
def curve(stages):
    return make_curve(stages)


def make_curve(stages, **options):
    scores, reranker, _ = stages

    def first_stage(query, number):
        best = np.argsort(-scores[query])[:number]
        return scores[query][best], [IDS[at] for at in best]

    def second_stage(query, images):
        return reranker(TEXTS[query], images)

    count = lambda: reranker.forwards  # noqa: E731
    options = {"total": TOTAL, "ks": [1, 5, 10, 50], "timed_queries": 3, "count_forwards": count, **options}
    return hybrid_curve(first_stage, second_stage, RIGHT, **options)


def ranks_by(scores):
    """The ranks of the right images where scores alone decide."""
    order = np.argsort(-scores, axis=1)
    return [int(np.flatnonzero(row == IDS.index(name))[0]) for row, name in zip(order, RIGHT, strict=True)]


def test_all_candidates_give_the_ranking_of_the_mlmm_and_one_or_none_that_of_the_first_stage(stages, curve):
    first, _, second = stages
    points, ranks = curve
    assert [point.k for point in points] == [0, 1, 5, 10, TOTAL]
    assert ranks[:, -1].tolist() == ranks_by(second)
    assert ranks[:, 0].tolist() == ranks[:, 1].tolist() == ranks_by(first)


def test_recall_is_bounded_by_that_of_the_candidates(curve):
    points, _ = curve
    assert all(point.r1 <= point.candidate_recall for point in points)
    assert points[-1].candidate_recall == 100
    recalls = [point.candidate_recall for point in points]
    assert recalls == sorted(recalls)


def test_mlmm_looks_at_as_many_pairs_as_there_are_candidates(curve):
    assert [point.forwards for point in curve[0]] == [0, 1, 5, 10, TOTAL]


def test_each_number_of_candidates_has_the_rank_of_a_search_with_so_many(stages, curve):
    first, _, second = stages
    points, ranks = curve
    for column, point in enumerate(points[1:], start=1):
        for query in range(QUERIES):
            found = np.argsort(-first[query])
            head = sorted(found[: point.k], key=lambda at, query=query: -second[query, at])
            expected = [*head, *found[point.k :]].index(IDS.index(RIGHT[query]))
            assert ranks[query, column] == expected


def test_weight_of_one_leaves_the_first_stage_as_it_is(stages):
    _, ranks = make_curve(stages, weight=1.0)
    assert (ranks == ranks[:, :1]).all()


def test_quality_of_known_ranks():
    expected = {"r1": 25, "r5": 50, "r10": 75, "mrr": 100 * (1 + 1 / 2 + 1 / 6 + 1 / 20) / 4, "candidate_recall": 75}
    assert quality(np.array([0, 1, 5, 19]), np.array([3, 0, 5, 19]), 10) == pytest.approx(expected)


def test_unscored_candidate_falls_behind_the_scored_ones():
    first, second = np.array([3.0, 2.0, 1.0, 0.0]), np.array([np.nan, -5.0, -9.0, 8.0])
    assert [rank_of_right(first, second, place, k=3) for place in range(4)] == [2, 0, 1, 3]


def test_ways_are_timed_in_turn_and_the_first_queries_once_more():
    calls = []
    spent = time_in_turn({1: lambda query: calls.append((1, query)), 2: lambda query: calls.append((2, query))}, 3)
    assert calls == [(way, query) for query in (0, 1, 0, 1, 2) for way in (1, 2)]
    assert [len(times) for times in spent.values()] == [3, 3]


def test_numbers_of_candidates_end_with_all():
    assert choose_ks(30) == [0, 1, 5, 10, 20, 30]
    assert choose_ks(5, [5, 7, 2]) == [0, 2, 5]
    with pytest.raises(ValueError, match="1 or more"):
        choose_ks(5, [0])
    with pytest.raises(ValueError, match="of 0 images"):
        choose_ks(0)


def test_right_image_that_is_not_there_is_named(stages):
    with pytest.raises(ValueError, match=r"query 0, gone\.png, is not among the 13"):
        hybrid_curve(lambda *_: (np.zeros(TOTAL), IDS), lambda *_: np.zeros(TOTAL), ["gone.png"], total=TOTAL)
    with pytest.raises(ValueError, match="no query"):
        hybrid_curve(lambda *_: (np.zeros(TOTAL), IDS), lambda *_: np.zeros(TOTAL), [], total=TOTAL)


def test_columns_are_those_of_a_point():
    assert HybridPoint.names()[:3] == ["k", "r1", "r5"]
