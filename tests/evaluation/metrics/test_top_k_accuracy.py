import numpy as np
import pytest
from wenlan.evaluation import load_metric


@pytest.fixture
def metric(tmp_path):
    return load_metric("top_k_accuracy", cache_dir=str(tmp_path))


def test_right_class_counts_if_it_is_among_the_k_highest(metric):
    logits = [[3.0, 2.0, 1.0, 0.0], [3.0, 2.0, 1.0, 0.0], [-5.0, 2.0, 1.0, 0.0], [3.0, 2.0, 1.0, 0.5]]
    results = metric.compute(predictions=logits, references=[0, 1, 3, 3], ks=[1, 2, 3])
    assert results == pytest.approx(
        {"top-1": 25, "top-2": 50, "top-3": 75, "chance_top-1": 25, "chance_top-2": 50, "chance_top-3": 75}
    )


def test_equals_the_ranks_by_sorting(metric):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(300, 20)).astype(np.float32), rng.integers(20, size=300)
    place = [int(np.flatnonzero(np.argsort(-row) == label)[0]) for row, label in zip(logits, labels, strict=True)]
    results = metric.compute(predictions=logits, references=labels)
    assert results["top-1"] == pytest.approx(100 * np.mean(np.array(place) < 1))
    assert results["top-5"] == pytest.approx(100 * np.mean(np.array(place) < 5))


def test_ties_count_against_the_model(metric):
    results = metric.compute(predictions=np.zeros((5, 3)), references=[0, 1, 2, 0, 1], ks=[1, 2, 3])
    assert (results["top-1"], results["top-2"], results["top-3"]) == (0, 0, 100)


def test_more_guesses_than_classes_are_always_right(metric):
    results = metric.compute(predictions=np.eye(3), references=[2, 0, 1], ks=[5])
    assert results == {"top-5": 100, "chance_top-5": 100}


def test_logits_in_pieces_give_what_they_give_at_once(metric):
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(23, 6)), rng.integers(6, size=23)
    whole = metric.compute(predictions=logits, references=labels, ks=(1, 3))
    for start in range(0, 23, 5):
        metric.add_batch(predictions=logits[start : start + 5], references=labels[start : start + 5])
    assert metric.compute(ks=(1, 3)) == whole


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        ([[1, 2], [2, 1]], [0], r"number of predictions \(2\) and references \(1\)"),
        ([[1, 2], [2]], [0, 1], "Row 1 has 1 scores and row 0 has 2"),
        ([[1, 2], [2, 1]], [0, 2], "Row 1 has the label 2, but the classes are 0 to 1"),
        ([[1, 2], [2, 1]], [-1, 0], "Row 0 has the label -1"),
        ([[1, float("nan")], [2, 1]], [0, 1], "NaN"),
        ([], [], "no predictions"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(metric, logits, labels, message):
    with pytest.raises(ValueError, match=message):
        metric.compute(predictions=logits, references=labels)
