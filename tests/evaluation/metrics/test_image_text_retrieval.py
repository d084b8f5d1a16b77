import json

import numpy as np
import pytest
from helpers.paths import FIXTURES
from wenlan.evaluation import fold_recalls, load_metric, retrieval_recalls

GOLDEN = json.loads((FIXTURES / "mlmm" / "metrics" / "retrieval.json").read_text("utf-8"))
CASES = {case["name"]: case for case in GOLDEN["cases"]}
CASE = CASES["uneven captions"]
SCORES = np.array(CASE["scores"])
OWNERS = [CASE["img_ids"].index(CASE["txt2img"][text]) for text in CASE["txt_ids"]]


@pytest.fixture
def metric(tmp_path):
    return load_metric("image_text_retrieval", cache_dir=str(tmp_path))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_mean_recall_equals_the_golden_definition(metric, case):
    owners = [case["img_ids"].index(case["txt2img"][text]) for text in case["txt_ids"]]
    results = metric.compute(predictions=case["scores"], references=owners)
    assert results["mean_recall"] == pytest.approx(100 * case["result"]["r_mean"], abs=1e-9)
    assert results["t2i_R@10"] == pytest.approx(100 * case["result"]["img_r10"], abs=1e-9)
    assert results["i2t_R@1"] == pytest.approx(100 * case["result"]["txt_r1"], abs=1e-9)


def test_results_are_those_of_the_function(metric):
    assert metric.compute(predictions=SCORES, references=OWNERS, ks=[1, 3]) == retrieval_recalls(
        SCORES, OWNERS, ks=(1, 3)
    )


def test_scores_in_pieces_give_what_they_give_at_once(metric):
    whole = metric.compute(predictions=SCORES, references=OWNERS)
    for start in range(0, len(SCORES), 7):  # 69 texts: the last piece is smaller
        metric.add_batch(predictions=SCORES[start : start + 7], references=OWNERS[start : start + 7])
    assert metric.compute() == whole


@pytest.mark.parametrize("folds", [3, [[0, 4, 8], [1, 2, 3]]])
def test_folds_are_those_of_the_function(metric, folds):
    results = metric.compute(predictions=SCORES, references=OWNERS, folds=folds)
    assert results == fold_recalls(SCORES, OWNERS, folds)
    assert results != retrieval_recalls(SCORES, OWNERS)


def test_ties_count_against_the_model(metric):
    results = metric.compute(predictions=np.ones((24, 12)), references=np.arange(24) // 2)
    assert results["mean_recall"] == 0
    assert results["t2i_chance_R@1"] == pytest.approx(100 / 12)


@pytest.mark.parametrize(
    ("scores", "owners", "message"),
    [
        ([[1, 2], [2, 1]], [0], r"number of predictions \(2\) and references \(1\)"),
        ([[1, 2], [2]], [0, 1], "Text 1 has 1 scores and text 0 has 2"),
        ([[1, 2], [2, 1]], [0, 2], "holds 2, but the images are 0 to 1"),
        ([[1, 2], [2, 1]], [0, 0], "Image 1 has no text"),
        ([[1, float("nan")], [2, 1]], [0, 1], "NaN"),
        ([], [], "no predictions"),
        ([1, 2], [0, 1], "don't match the expected format"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(metric, scores, owners, message):
    with pytest.raises(ValueError, match=message):
        metric.compute(predictions=scores, references=owners)
