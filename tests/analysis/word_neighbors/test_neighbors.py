import numpy as np
import pytest
from wenlan.analysis.word_neighbors import neighbors
from wenlan.analysis.word_neighbors.controls import random_like
from wenlan.analysis.word_neighbors.neighbors import draw_queries, nearest_neighbors


def rows_with_ties(count: int, width: int) -> np.ndarray:
    """Return unit rows of which 60 are equal, more than the margin of the candidates, and others nearly."""
    rows = random_like(np.empty((count, width)), seed=0)
    rows[count // 2 : count // 2 + 60] = rows[5]
    rows[200:240] = rows[7] + np.float32(1e-7) * np.arange(40, dtype=np.float32)[:, None]
    return rows


def brute_force(rows: np.ndarray, query: int, k: int) -> np.ndarray:
    exact = rows.astype(np.float64)
    scores = (exact * exact[query]).sum(axis=1)
    scores[query] = -np.inf
    return np.argsort(-scores, kind="stable")[:k]


@pytest.mark.parametrize("k", [1, 10, 100])
def test_neighbours_equal_brute_force_with_ties_by_lower_index(k):
    rows = rows_with_ties(1500, 24)
    queries = np.array([5, 7, 210, 751, 809, *range(900, 960)])
    found = nearest_neighbors(rows, queries, k)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, [brute_force(rows, query, k) for query in queries])


def test_neighbours_do_not_depend_on_the_size_of_chunks(monkeypatch):
    rows, queries = rows_with_ties(700, 16), np.arange(0, 700, 3)
    whole = nearest_neighbors(rows, queries, 20)
    monkeypatch.setattr(neighbors, "CHUNK", 7)
    monkeypatch.setattr(neighbors, "RESCORED", 3)
    np.testing.assert_array_equal(nearest_neighbors(rows, queries, 20), whole)


def test_all_other_words_may_be_neighbours_and_not_more():
    rows = random_like(np.empty((12, 4)), seed=1)
    found = nearest_neighbors(rows, np.arange(12), 11)
    assert [sorted([one, *row]) for one, row in enumerate(found.tolist())] == [list(range(12))] * 12
    with pytest.raises(ValueError, match="12 words have 11 neighbours each, not 12"):
        nearest_neighbors(rows, np.arange(12), 12)


def test_queries_are_drawn_without_repetition():
    drawn = draw_queries(50, 20, seed=3)
    assert len(set(drawn)) == 20
    assert (np.diff(drawn) > 0).all()
    np.testing.assert_array_equal(draw_queries(50, 20, seed=3), drawn)
    np.testing.assert_array_equal(draw_queries(50, None), np.arange(50))
    np.testing.assert_array_equal(draw_queries(50, 60), np.arange(50))
