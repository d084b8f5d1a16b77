import json

import numpy as np
import pytest
from helpers.paths import FIXTURES
from wenlan.evaluation.retrieval.recall import fold_recalls, precision_at_k, recall_at_k, retrieval_recalls

GOLDEN = json.loads((FIXTURES / "mlmm" / "metrics" / "retrieval.json").read_text("utf-8"))
CASES = {case["name"]: case for case in GOLDEN["cases"]}


def matrix_of(case):
    """The scores of a golden case, and the image of each text as a column."""
    return np.array(case["scores"]), np.array([case["img_ids"].index(case["txt2img"][t]) for t in case["txt_ids"]])


def golden_recalls(result):
    """The golden names are those of UC2: `txt_r` finds texts for an image."""
    recalls = {f"t2i_R@{k}": 100 * result[f"img_r{k}"] for k in (1, 5, 10)}
    recalls |= {f"i2t_R@{k}": 100 * result[f"txt_r{k}"] for k in (1, 5, 10)}
    return pytest.approx(recalls | {"mean_recall": 100 * result["r_mean"]}, abs=1e-9)


def without_chance(results):
    return {name: value for name, value in results.items() if "chance" not in name}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_recalls_equal_the_golden_definition(case):
    assert without_chance(retrieval_recalls(*matrix_of(case))) == golden_recalls(case["result"])


def test_folds_of_one_matrix_give_the_golden_mean_of_the_five():
    matrices, owners = zip(*[matrix_of(CASES[name]) for name in GOLDEN["five_fold"]["folds"]], strict=True)
    texts, images = matrices[0].shape
    # pairs across folds score highest: they must not be looked at
    scores = np.full((5 * texts, 5 * images), 10**9)
    for fold, matrix in enumerate(matrices):
        scores[fold * texts : (fold + 1) * texts, fold * images : (fold + 1) * images] = matrix
    owners = np.concatenate([own + fold * images for fold, own in enumerate(owners)])
    assert without_chance(fold_recalls(scores, owners, 5)) == golden_recalls(GOLDEN["five_fold"]["mean"])


def test_folds_may_be_given_as_the_images_of_each():
    scores, owners = matrix_of(CASES["uneven captions"])
    folds = [[3, 1, 4], [0, 2, 5, 6, 7]]
    expected = []
    for images in folds:
        texts = [text for text, owner in enumerate(owners) if owner in images]
        own = [images.index(owners[text]) for text in texts]
        expected.append(retrieval_recalls(scores[texts][:, images], own, ks=(1, 2)))
    mean = {name: (expected[0][name] + expected[1][name]) / 2 for name in expected[0]}
    assert fold_recalls(scores, owners, folds, ks=(1, 2)) == pytest.approx(mean)


def test_one_fold_of_all_images_is_the_whole():
    scores, owners = matrix_of(CASES["uneven captions"])
    assert fold_recalls(scores, owners, 1) == retrieval_recalls(scores, owners)


def test_hand_made_matrix_with_ties():
    # four images, two captions each; the captions of image 0 are texts 0 and 1, and so on
    scores = np.array(
        [
            [9, 1, 2, 3],  # found first
            [5, 5, 0, 0],  # tied with image 1: second
            [7, 8, 6, 0],  # first
            [3, 1, 2, 0],  # third
            [1, 1, 1, 1],  # tied with all: fourth
            [0, 0, 4, 5],  # second
            [2, 0, 6, 6],  # tied: second
            [0, 9, 0, 3],  # second
        ]
    )
    results = without_chance(retrieval_recalls(scores, [0, 0, 1, 1, 2, 2, 3, 3], ks=(1, 2, 3)))
    assert results == {
        "t2i_R@1": 25.0,
        "t2i_R@2": 75.0,
        "t2i_R@3": 87.5,
        # images 0 and 3 find texts 0 and 6 first; 1: text 7 stands before text 2; 2: texts 2 and 6 before 5
        "i2t_R@1": 50.0,
        "i2t_R@2": 75.0,
        "i2t_R@3": 100.0,
        "mean_recall": pytest.approx((25 + 75 + 87.5 + 50 + 75 + 100) / 6),
    }


def test_a_collapsed_model_scores_zero():
    results = retrieval_recalls(np.ones((40, 20)), np.arange(40) // 2)
    assert set(without_chance(results).values()) == {0}


def test_a_tie_between_two_captions_of_a_image_is_no_error():
    assert retrieval_recalls(np.array([[2, 1], [2, 1], [0, 3]]), [0, 0, 1], ks=(1,))["i2t_R@1"] == 100


def test_random_scores_give_chance_within_three_deviations():
    texts, images = 2000, 400
    scores = np.random.default_rng(0).random((texts, images))
    results = retrieval_recalls(scores, np.arange(texts) // 5)
    for direction, queries in (("t2i", texts), ("i2t", images)):
        for k in (1, 5, 10):
            chance = results[f"{direction}_chance_R@{k}"]
            deviation = np.sqrt(chance * (100 - chance) / queries)
            assert abs(results[f"{direction}_R@{k}"] - chance) < 3 * deviation
    assert results["t2i_chance_R@5"] == pytest.approx(100 * 5 / images)
    assert results["i2t_chance_R@1"] == pytest.approx(100 * 5 / texts)


def test_chance_is_the_mean_over_images_with_uneven_numbers_of_captions():
    results = retrieval_recalls(np.random.default_rng(0).random((5, 3)), [0, 0, 0, 1, 2], ks=(1, 2))
    assert results["i2t_chance_R@1"] == pytest.approx(100 * (3 / 5 + 1 / 5 + 1 / 5) / 3)
    assert results["i2t_chance_R@2"] == pytest.approx(100 * ((1 - 2 / 5 * 1 / 4) + 2 / 5 + 2 / 5) / 3)
    assert results["t2i_chance_R@2"] == pytest.approx(100 * 2 / 3)


def test_half_precision_scores_rank_as_their_values():
    scores = np.array([[0.5, 0.25], [0.25, 1.0]], dtype=np.float16)
    assert retrieval_recalls(scores, [0, 1], ks=(1,))["mean_recall"] == 100


@pytest.mark.parametrize(
    ("owners", "message"),
    [
        ([0, 1], r"\(3, 2\) and \(2,\)"),
        ([0, 1, 2], "holds 2, but the images are 0 to 1"),
        ([0, 1, -1], "holds -1"),
        ([0, 0, 0], "Image 1 has no text"),
    ],
)
def test_owners_that_do_not_fit_are_refused(owners, message):
    with pytest.raises(ValueError, match=message):
        retrieval_recalls(np.zeros((3, 2)), owners)
    with pytest.raises(ValueError, match=message):
        fold_recalls(np.zeros((3, 2)), owners, 1)


def test_broken_scores_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        retrieval_recalls(np.full((2, 2), np.nan), [0, 1])


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        (3, "cannot be cut into 3"),
        (0, "into 0 equal"),
        ([], "empty"),
        ([[0, 1], [2, 4]], "Fold 1 names an image twice, or one that is not among 0 to 3"),
        ([[0, 0]], "Fold 0 names an image twice"),
    ],
)
def test_folds_that_do_not_fit_are_refused(folds, message):
    with pytest.raises(ValueError, match=message):
        fold_recalls(np.eye(4), np.arange(4), folds)


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


def test_precision_counts_the_relevant_among_the_first_and_ties_against_them():
    similarity = np.array([[0.9, 0.8, 0.7, 0.1], [0.5, 0.5, 0.5, 0.5], [0.9, 0.8, 0.7, 0.1]])
    relevant = np.array([[True, False, True, False], [True, True, False, False], [True, False, True, True]])
    np.testing.assert_allclose(precision_at_k(similarity, relevant, k=2), [0.5, 0, 0.5])
    np.testing.assert_allclose(precision_at_k(similarity, relevant, k=10), [0.5, 0.5, 0.75])
