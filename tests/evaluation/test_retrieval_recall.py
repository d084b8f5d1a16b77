from pathlib import Path

import numpy as np
import pytest
from wenlan.evaluation import RetrievalRecall, recall_at_k


def test_recall_counts_queries_with_a_relevant_candidate_among_the_first_k():
    similarity = np.array([[0.9, 0.1, 0.0], [0.8, 0.5, 0.1], [0.3, 0.2, 0.1]])
    recalls = recall_at_k(similarity, np.eye(3, dtype=bool), ks=(1, 2, 3))
    assert recalls["R@1"] == pytest.approx(100 / 3)
    assert recalls["R@2"] == pytest.approx(200 / 3)
    assert recalls["R@3"] == pytest.approx(100)


def test_chance_is_k_over_candidates_for_one_relevant_candidate():
    recalls = recall_at_k(np.eye(50), np.eye(50, dtype=bool), ks=(1, 5))
    assert recalls["chance_R@1"] == pytest.approx(2)
    assert recalls["chance_R@5"] == pytest.approx(10)


def test_chance_grows_with_the_number_of_relevant_candidates():
    relevant = np.zeros((1, 4), dtype=bool)
    relevant[0, :2] = True
    recalls = recall_at_k(np.arange(4.0)[None], relevant, ks=(1, 2))
    assert recalls["chance_R@1"] == pytest.approx(50)
    assert recalls["chance_R@2"] == pytest.approx(100 * (1 - 2 / 4 * 1 / 3))


def test_any_relevant_candidate_counts():
    relevant = np.array([[True, False, True]])
    assert recall_at_k(np.array([[0.1, 0.5, 0.9]]), relevant, ks=(1,))["R@1"] == 100


def test_collapsed_embeddings_score_zero_not_a_hundred():
    assert recall_at_k(np.ones((20, 20)), np.eye(20, dtype=bool), ks=(1,))["R@1"] == 0


def test_nan_similarities_are_refused():
    similarity = np.eye(3)
    similarity[1, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        recall_at_k(similarity, np.eye(3, dtype=bool))


def test_query_without_a_relevant_candidate_is_refused():
    with pytest.raises(ValueError, match="Query 1"):
        recall_at_k(np.eye(2), np.array([[True, False], [False, False]]))


def test_metric_module_gives_both_directions_and_their_mean():
    images = np.eye(12, dtype=np.float32)
    texts = images[[0, 2, 1, *range(3, 12)]]
    results = RetrievalRecall().compute(predictions=images, references=texts, ks=(1,))
    assert results["i2t_R@1"] == results["t2i_R@1"] == results["mean_recall"] == pytest.approx(100 * 10 / 12)


def test_metric_module_groups_the_texts_of_one_picture():
    images = np.eye(3, dtype=np.float32)[[0, 0, 1]]
    texts = np.eye(3, dtype=np.float32)[[2, 0, 1]]
    results = RetrievalRecall().compute(predictions=images, references=texts, image_ids=[7, 7, 8], ks=(1,))
    assert results["i2t_R@1"] == 100  # picture 7 finds one of its two texts
    assert results["t2i_R@1"] == pytest.approx(200 / 3)


def test_metric_loads_by_path_as_an_evaluate_module():
    import evaluate

    path = Path(__file__).parents[2] / "evaluation" / "retrieval_recall.py"
    metric = evaluate.load(str(path))
    assert metric.compute(predictions=np.eye(4), references=np.eye(4))["mean_recall"] == 100
