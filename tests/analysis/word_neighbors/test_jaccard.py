"""The index, and what is known of it in spaces that are turned, drawn at random, permuted or noisy."""

import numpy as np
import pytest
from wenlan.analysis.word_neighbors.controls import add_noise, permute, random_like, rotate
from wenlan.analysis.word_neighbors.jaccard import KS, expected_by_chance, extremes, jaccard, summarize
from wenlan.analysis.word_neighbors.neighbors import nearest_neighbors

WORDS, K = 6000, 100
QUERIES = np.arange(0, WORDS, 8)


@pytest.fixture(scope="module")
def rows():
    """Unit rows in clusters, as words have."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((300, 64))
    drawn = centres[rng.integers(300, size=WORDS)] + 0.7 * rng.standard_normal((WORDS, 64))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def near(rows):
    return nearest_neighbors(rows, QUERIES, K)


def index(near, other, k=K):
    return jaccard(near, nearest_neighbors(other, QUERIES, K), k)


def test_index_counts_what_both_lists_have():
    one, other = np.array([[1, 2, 3, 4], [1, 2, 3, 4]]), np.array([[4, 3, 9, 8], [5, 6, 7, 8]])
    np.testing.assert_allclose(jaccard(one, other, 4), [2 / 6, 0])
    np.testing.assert_allclose(jaccard(one, other, 2), [0, 0])
    np.testing.assert_allclose(jaccard(one, one[:, ::-1], 4), [1, 1])


def test_space_agrees_with_itself_exactly(rows, near):
    assert (index(near, rows) == 1).all()


def test_rotation_changes_nothing(rows, near):
    assert index(near, rotate(rows, seed=1)).mean() >= 0.999


@pytest.mark.parametrize("make", [random_like, permute])
def test_unrelated_spaces_share_what_chance_gives(rows, near, make):
    assert index(near, make(rows, seed=2)).mean() == pytest.approx(K / (2 * WORDS - K), rel=0.1)
    assert expected_by_chance(WORDS, K) == pytest.approx(K / (2 * WORDS - K), rel=1e-3)


def test_more_noise_shares_less_at_every_k(rows, near):
    means = []
    for scale in (0.05, 0.1, 0.2, 0.4):
        noisy = nearest_neighbors(add_noise(rows, scale, seed=3), QUERIES, K)
        means.append([jaccard(near, noisy, k).mean() for k in KS])
    assert (np.diff(means, axis=0) < 0).all()
    assert np.ptp(means[1]) > 0.02  # k matters where words cluster


def test_summary_has_interval_and_chance_for_each_k(rows, near):
    other = nearest_neighbors(add_noise(rows, 0.2, seed=3), QUERIES, K)
    found = summarize(near, other, words=WORDS)
    assert list(found) == ["K=10", "K=20", "K=50", "K=100"]
    row = found["K=100"]
    assert row["n"] == len(QUERIES)
    assert row["interval"][0] < row["mean"] == jaccard(near, other, K).mean() < row["interval"][1]
    assert row["chance"] == expected_by_chance(WORDS, K)


def test_lists_of_other_words_or_too_short_ones_are_errors(near):
    with pytest.raises(ValueError, match="neighbours of 750 words in one space and of 749"):
        jaccard(near, near[1:], 10)
    with pytest.raises(ValueError, match="There are 100 neighbours of a word, not 101"):
        jaccard(near, near, 101)


def test_extremes_are_of_frequent_words():
    values, queries = np.array([0.5, 0.1, 0.9, 0.0, 1.0]), np.array([3, 9, 11, 30_000, 40_000])
    least, most = extremes(values, queries, number=1)
    assert least.tolist() == [1]
    assert most.tolist() == [2]
