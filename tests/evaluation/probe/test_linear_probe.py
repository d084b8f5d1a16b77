import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from wenlan.evaluation.probe import linear_probe
from wenlan.evaluation.probe.linear_probe import C_GRID, choose_c, fit_linear, hold_out_validation


@pytest.fixture
def data():
    """90 features of three classes that overlap, with unlike scales, and as many for an evaluation."""
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    scales = np.geomspace(0.01, 100, 12)
    draw = lambda: (rng.normal(size=(90, 12)) + np.eye(3, 12)[labels]) * scales  # noqa: E731
    return draw(), labels, draw()


@pytest.mark.parametrize("c", [1e-3, 1.0, 100.0])
def test_probe_is_scikit_learn_by_hand(c, data):
    train, labels, test = data
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    by_hand = LogisticRegression(C=c, max_iter=1000).fit((train - mean) / deviation, labels)
    expected = by_hand.predict_proba((test - mean) / deviation)
    np.testing.assert_allclose(fit_linear(train, labels, c=c).predict_proba(test), expected, atol=1e-6)


def test_features_that_never_change_are_no_error(data):
    train, labels, test = data
    train[:, 3] = test[:, 3] = 5
    assert np.isfinite(fit_linear(train, labels, c=1.0).predict_proba(test)).all()


def test_a_fifth_of_each_class_is_held_out_and_never_all():
    labels = np.array([0] * 10 + [1] * 2 + [2])
    held = hold_out_validation(labels, seed=3)
    assert [held[labels == label].sum() for label in range(3)] == [2, 1, 0]
    assert not np.array_equal(held, hold_out_validation(labels, seed=4))


def test_c_is_the_best_on_the_validation_part(data):
    train, labels, _ = data
    held = hold_out_validation(labels, seed=0)
    mean, deviation = train[~held].mean(axis=0), train[~held].std(axis=0)
    expected = {}
    for c in C_GRID:
        by_hand = LogisticRegression(C=c, max_iter=1000).fit((train[~held] - mean) / deviation, labels[~held])
        expected[c] = 100 * by_hand.score((train[held] - mean) / deviation, labels[held])
    c, accuracies = choose_c(train, labels, seed=0)
    assert accuracies == pytest.approx(expected)
    assert c == next(one for one in C_GRID if expected[one] == max(expected.values()))
    assert len(set(expected.values())) > 1


def test_nothing_of_the_validation_part_is_fitted(data, monkeypatch):
    train, labels, _ = data
    held, fitted, fit = hold_out_validation(labels, seed=0), [], linear_probe.fit_linear
    monkeypatch.setattr(
        linear_probe, "fit_linear", lambda rows, *rest, **c: (fitted.append(rows), fit(rows, *rest, **c))[1]
    )
    choose_c(train, labels, seed=0)
    assert len(fitted) == len(C_GRID)
    assert all(np.array_equal(rows, train[~held]) for rows in fitted)


def test_one_image_a_class_leaves_nothing_to_choose_with():
    assert choose_c(np.eye(4), np.arange(4), seed=0) == (1.0, {})


def test_missing_scikit_learn_says_what_to_install(data, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.linear_model", None)
    with pytest.raises(ImportError, match=r"pip install 'wenlan\[few-shot\]'"):
        fit_linear(data[0], data[1], c=1.0)
