import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from wenlan.evaluation.probe.few_shot import draw_shots, few_shot_curve


@pytest.fixture
def data():
    """60 features of three classes with 20, 24 and 16 images, and 60 to evaluate on."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [20, 24, 16])
    draw = lambda: rng.normal(size=(60, 8)) + 2 * np.eye(3, 8)[labels]  # noqa: E731
    return draw(), labels, draw(), labels


def test_so_many_images_of_each_class_are_drawn_without_repetition():
    labels = np.repeat([0, 1, 2], [20, 24, 16])
    chosen = draw_shots(labels, 4, seed=(0, 4, 1))
    assert np.bincount(labels[chosen]).tolist() == [4, 4, 4]
    assert len(set(draw_shots(labels, 16, seed=(0, 16, 0)).tolist())) == 48
    assert chosen.tolist() == draw_shots(labels, 4, seed=(0, 4, 1)).tolist()
    assert chosen.tolist() != draw_shots(labels, 4, seed=(0, 4, 2)).tolist()


def test_curve_has_five_draws_of_each_number_and_rises(data):
    curve = few_shot_curve(*data)
    assert [(point["shots"], point["n"]) for point in curve] == [(1, 5), (2, 5), (4, 5), (8, 5), (16, 5)]
    means = [point["mean"] for point in curve]
    assert means[0] < means[2] < means[4]


def test_accuracy_of_a_draw_is_that_of_scikit_learn_on_its_images(data):
    train, labels, test, wanted = data
    chosen = draw_shots(labels, 2, seed=(5, 2, 0))
    mean, deviation = train[chosen].mean(axis=0), train[chosen].std(axis=0)
    by_hand = LogisticRegression(C=1.0, max_iter=1000).fit((train[chosen] - mean) / deviation, labels[chosen])
    (point,) = few_shot_curve(*data, shots=(2,), draws=1, seed=5)
    assert point["accuracies"] == [pytest.approx(100 * by_hand.score((test - mean) / deviation, wanted))]


def test_more_shots_than_the_smallest_class_has_are_left_out(data):
    train, labels, test, wanted = data
    few = (labels != 1) | (np.arange(60) < 23)  # of class 1 only three
    assert [point["shots"] for point in few_shot_curve(train[few], labels[few], test, wanted, draws=2)] == [1, 2]


def test_mean_and_deviation_are_those_of_the_draws(data):
    for point in few_shot_curve(*data, shots=(1, 4)):
        assert point["mean"] == pytest.approx(np.mean(point["accuracies"]))
        assert point["std"] == pytest.approx(np.std(point["accuracies"], ddof=1))
        assert point["interval"][0] < point["mean"] < point["interval"][1]
