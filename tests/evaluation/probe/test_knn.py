from collections import defaultdict

import numpy as np
import pytest
from wenlan.evaluation.probe import knn
from wenlan.evaluation.probe.knn import knn_predictions


def cosine(one, other):
    norms = np.linalg.norm(one) * np.linalg.norm(other)
    return float(one @ other / norms) if norms else 0.0


def brute_force(train, labels, row, k):
    nearest = sorted((-cosine(one, row), place) for place, one in enumerate(train))[:k]
    votes, sums = defaultdict(int), defaultdict(float)
    for negative, place in nearest:
        votes[labels[place]] += 1
        sums[labels[place]] -= negative
    return max(votes, key=lambda label: (votes[label], sums[label], -label))


@pytest.mark.parametrize("k", [1, 2, 5, 20])
def test_neighbours_are_those_of_brute_force(k, monkeypatch):
    rng = np.random.default_rng(k)
    train, test, labels = rng.normal(size=(60, 7)), rng.normal(size=(50, 7)), rng.integers(4, size=60)
    expected = [brute_force(train, labels, row, k) for row in test]
    assert knn_predictions(train, labels, test, ks=(k,))[k].tolist() == expected
    monkeypatch.setattr(knn, "CHUNK", 7)  # 50 are seven chunks and one
    assert knn_predictions(train, labels, test, ks=(k,))[k].tolist() == expected


def test_length_does_not_count():
    train, labels = np.array([[1.0, 0], [0, 1]]), np.array([0, 1])
    assert knn_predictions(train * [[100], [1]], labels, np.array([[1.0, 2]]), ks=(1,))[1].tolist() == [1]


def test_equal_votes_go_to_the_nearer_class_and_equal_cosines_to_the_lower_index():
    train, test = np.array([[1.0, 0], [0, 1], [1, 0]]), np.array([[1.0, 0.5], [0, 1]])
    assert knn_predictions(train[:2], np.array([1, 0]), test, ks=(2,))[2].tolist() == [1, 0]
    assert knn_predictions(train, np.array([2, 1, 0]), np.array([[1.0, 0]]), ks=(2,))[2].tolist() == [0]


def test_k_above_the_number_of_training_images_is_left_out():
    found = knn_predictions(np.eye(3), np.arange(3), np.eye(3))
    assert list(found) == [1]
    assert found[1].tolist() == [0, 1, 2]


def test_features_of_zero_are_no_error():
    assert knn_predictions(np.eye(2), np.arange(2), np.zeros((1, 2)), ks=(1,))[1].tolist() == [0]
