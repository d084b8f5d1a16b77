import numpy as np
import pytest
from wenlan.evaluation import retrieval_recalls
from wenlan.evaluation.retrieval.confidence_interval import mean_hits, mean_recall_interval

OWNERS = np.repeat(np.arange(40), np.arange(40) % 3 + 1)  # one to three captions an image


def noisy_scores(seed=0):
    relevant = OWNERS[:, None] == np.arange(40)
    return relevant + np.random.default_rng(seed).normal(size=relevant.shape).astype(np.float32)


def test_interval_holds_the_mean_recall_and_is_the_same_every_time():
    scores = noisy_scores()
    low, high = mean_recall_interval([(scores, OWNERS)])
    assert low < retrieval_recalls(scores, OWNERS)["mean_recall"] < high
    assert mean_recall_interval([(scores, OWNERS)]) == [low, high]


def test_interval_is_as_wide_as_the_recalls_of_other_samples_are_apart():
    spread = np.std([retrieval_recalls(noisy_scores(seed), OWNERS)["mean_recall"] for seed in range(50)])
    low, high = mean_recall_interval([(noisy_scores(), OWNERS)])
    assert 2 * 1.96 * spread / 1.5 < high - low < 2 * 1.96 * spread * 1.5


def test_hits_are_those_of_the_recalls():
    scores, relevant = noisy_scores(), OWNERS[:, None] == np.arange(40)
    recalls = retrieval_recalls(scores, OWNERS)
    both = mean_hits(scores, relevant, (1, 5, 10)).mean() + mean_hits(scores.T, relevant.T, (1, 5, 10)).mean()
    assert 50 * both == pytest.approx(recalls["mean_recall"])


def test_perfect_and_collapsed_models_leave_nothing_open():
    assert mean_recall_interval([(np.eye(12), np.arange(12))]) == [100, 100]
    assert mean_recall_interval([(np.zeros((12, 12)), np.arange(12))]) == [0, 0]


def test_images_of_all_folds_are_drawn_from():
    perfect, collapsed = (np.eye(12), np.arange(12)), (np.zeros((12, 12)), np.arange(12))
    low, high = mean_recall_interval([perfect, collapsed])
    assert 20 < low < 50 < high < 80
