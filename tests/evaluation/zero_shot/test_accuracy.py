import numpy as np
import pytest
from wenlan.evaluation import mean_embedding, top_k_accuracy


def test_top_k_counts_the_right_class_among_the_k_nearest():
    images = np.array([[1.0, 0.0], [0.6, 0.8]])
    results = top_k_accuracy(images, np.eye(2), np.array([0, 0]), ks=(1, 2))
    assert results == {"top-1": 50, "top-2": 100, "chance_top-1": 50, "chance_top-2": 100}


def test_ties_count_as_errors():
    assert top_k_accuracy(np.ones((4, 2)), np.ones((3, 2)), np.zeros(4, dtype=int), ks=(1,))["top-1"] == 0


def test_nan_embeddings_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        top_k_accuracy(np.full((1, 2), np.nan), np.eye(2), np.array([0]))


def test_prototype_is_the_unit_mean():
    np.testing.assert_allclose(mean_embedding(np.array([[1.0, 0.0], [0.0, 1.0]])), [2**-0.5, 2**-0.5])
