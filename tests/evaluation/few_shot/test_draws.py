import numpy as np
import pytest
from wenlan.evaluation.few_shot.draws import (
    accuracy,
    class_accuracies,
    confusion,
    macro_accuracy,
    paired_difference,
    summarize,
)

LABELS = np.array([0, 0, 0, 1, 2, 2])


def test_summary_has_mean_deviation_number_and_an_interval_around_the_mean():
    found = summarize([0.2, 0.3, 0.4])
    assert found["mean"] == pytest.approx(30)
    assert found["std"] == pytest.approx(10)
    assert found["n"] == 3
    low, high = found["interval"]
    assert 20 - 1e-9 <= low < 30 < high <= 40 + 1e-9
    assert summarize([0.25])["std"] == 0


def test_interval_shrinks_with_the_root_of_the_number_of_draws():
    values = np.random.default_rng(0).normal(0.3, 0.02, 400)
    low, high = summarize(values)["interval"]
    assert high - low == pytest.approx(2 * 1.96 * 2 / 20, rel=0.15)


def test_difference_is_that_of_pairs():
    ours, others = [0.1, 0.5, 0.9], [0.0, 0.4, 0.8]
    found = paired_difference(ours, others)
    assert found["mean"] == pytest.approx(10)
    assert found["interval"] == pytest.approx([10, 10])
    with pytest.raises(ValueError, match="3 draws of one method and 2"):
        paired_difference(ours, others[:2])


def test_macro_accuracy_weighs_classes_and_accuracy_texts():
    predictions = np.array([0, 0, 0, 0, 2, 0])
    assert accuracy(predictions, LABELS) == pytest.approx(4 / 6)
    assert macro_accuracy(predictions, LABELS) == pytest.approx((1 + 0 + 0.5) / 3)


def test_classes_that_do_not_occur_have_no_accuracy():
    predictions = np.array([[0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 0, 2]])
    assert class_accuracies(predictions, LABELS, 4) == [pytest.approx(50), 100, 75, None]


def test_confusion_is_of_groups_in_percent_of_the_true_one():
    predictions = np.array([[0, 1, 2, 1, 2, 0]])
    found = confusion(predictions, LABELS, ["a", "a", "b"])
    assert found == {"a": {"a": 75, "b": 25}, "b": {"a": 50, "b": 50}}
