"""Metrics of predictions that were written by hand."""

import numpy as np
import pytest
from wenlan.evaluation.zero_shot.metrics import class_metrics, classification_metrics, confused_pairs, draw_means
from wenlan.evaluation.zero_shot.prediction_shards import Predictions

LABELS = np.array([0, 0, 0, 1, 2])
TOP = np.array([[0, 1, 2, 3, 4], [1, 0, 2, 3, 4], [1, 2, 3, 4, 5], [1, 0, 2, 3, 4], [0, 1, 2, 3, 4]])
MARGIN = np.array([0.5, -0.1, -0.4, 0.2, -0.3], np.float32)


def predictions(top=TOP):
    top = top.astype(np.int32)
    return Predictions(top, np.zeros(top.shape, np.float32), MARGIN, top[:, ::-1])


def test_accuracies_stand_beside_chance_and_permuted_names():
    metrics = classification_metrics(LABELS, predictions(), 10)
    assert metrics["top_1"] == pytest.approx(40)
    assert metrics["top_5"] == pytest.approx(80)
    assert metrics["macro_top_1"] == pytest.approx((100 / 3 + 100 + 0) / 3)
    assert (metrics["permuted_top_1"], metrics["permuted_top_5"]) == (0, pytest.approx(80))
    assert (metrics["chance_top_1"], metrics["chance_top_5"]) == (10, 50)


def test_intervals_hold_the_metrics_and_are_the_same_each_time():
    metrics = classification_metrics(LABELS, predictions(), 10, seed=3)
    for name in ("top_1", "top_5", "macro_top_1", "permuted_top_5"):
        low, high = metrics[f"{name}_interval"]
        assert 0 <= low < metrics[name] < high <= 100
    assert metrics == classification_metrics(LABELS, predictions(), 10, seed=3)


def test_draws_depend_on_the_seed():
    values = np.arange(20.0)[:, None]
    assert np.array_equal(draw_means(values, seed=3), draw_means(values, seed=3))
    assert not np.array_equal(draw_means(values, seed=3), draw_means(values, seed=4))


def test_interval_of_many_images_is_that_of_a_proportion():
    rng = np.random.default_rng(0)
    labels, top = np.zeros(400, int), rng.integers(2, size=(400, 2))
    found = Predictions(top, top, np.zeros(400), top)
    metrics = classification_metrics(labels, found, 2)
    p = metrics["top_1"] / 100
    half = 100 * 1.96 * (p * (1 - p) / 400) ** 0.5
    assert np.abs(np.subtract(metrics["top_1_interval"], [100 * p - half, 100 * p + half])).max() < 1


def test_fewer_than_five_classes_have_no_top_5():
    metrics = classification_metrics(np.array([0, 1, 1]), predictions(np.array([[0, 1], [0, 1], [1, 0]])), 4)
    assert metrics["top_1"] == pytest.approx(200 / 3)
    assert [metrics[name] for name in ("top_5", "top_5_interval", "chance_top_5", "permuted_top_5")] == [None] * 4


def test_class_without_images_has_none_of_the_metrics_and_is_not_in_the_mean():
    of_class = class_metrics(LABELS, predictions(), 4)
    assert of_class["images"].tolist() == [3, 1, 1, 0]
    np.testing.assert_allclose(of_class["top_1"], [100 / 3, 100, 0, np.nan])
    np.testing.assert_allclose(of_class["top_5"], [200 / 3, 100, 100, np.nan])
    np.testing.assert_allclose(of_class["margin"], [0, 0.2, -0.3, np.nan], atol=1e-7)


def test_confused_pairs_come_by_their_number_then_in_order_of_the_classes():
    assert confused_pairs(LABELS, predictions()) == [(0, 1, 2), (2, 0, 1)]
    many = np.arange(60) % 30
    top = np.stack([(many + 1) % 30, many], axis=1)
    assert confused_pairs(many, predictions(top)) == [(one, one + 1, 2) for one in range(20)]
