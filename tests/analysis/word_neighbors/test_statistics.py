import numpy as np
import pytest
from scipy.stats import spearmanr
from wenlan.analysis.word_neighbors.statistics import mean_interval, paired_test, rank_rows


def test_interval_is_that_of_the_mean():
    values = np.random.default_rng(0).normal(2, 1, 400)
    found = mean_interval(values)
    assert found["mean"] == values.mean()
    assert np.ptp(found["interval"]) == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.15)


def test_paired_differences_are_told_from_noise():
    noise = np.random.default_rng(1).normal(0, 1, 120)
    assert paired_test(noise - noise.mean())["p"] > 0.9
    assert paired_test(noise - noise.mean() + 1)["p"] == pytest.approx(1 / 10_001)


def test_products_of_rank_rows_are_spearmans_without_the_diagonal():
    rng = np.random.default_rng(2)
    one, other = rng.random((6, 6)), rng.random((6, 6))
    wanted = [spearmanr(np.delete(one[row], row), np.delete(other[row], row)).statistic for row in range(6)]
    np.testing.assert_allclose((rank_rows(one) * rank_rows(other)).sum(axis=1), wanted)
