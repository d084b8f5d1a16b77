import json

import pytest
from helpers.paths import FIXTURES
from wenlan.evaluation import load_metric, vqa_accuracy

FOLDER = FIXTURES / "mlmm" / "metrics"
GOLDEN = json.loads((FOLDER / "vqa_accuracy.json").read_text("utf-8"))
GENERATED = json.loads((FOLDER / "vqa_generated.json").read_text("utf-8"))


def column(golden, name):
    return [case[name] for case in golden["cases"]]


def inputs_of(golden):
    return {"predictions": column(golden, "candidate"), "references": column(golden, "answers")}


def types_of(golden):
    return {"answer_types": column(golden, "answer_type"), "question_types": column(golden, "question_type")}


@pytest.fixture
def metric(tmp_path):
    return load_metric("vqa_accuracy", cache_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("golden", "expected"), [(GOLDEN, GOLDEN["rounded_two"]), (GENERATED, GENERATED)], ids=["cases", "generated"]
)
def test_metrics_equal_those_of_the_official_evaluator(metric, golden, expected):
    results = metric.compute(**inputs_of(golden), **types_of(golden))
    assert results == {
        "overall": expected["overall"],
        "questions": len(golden["cases"]),
        "per_answer_type": expected["perAnswerType"],
        "per_question_type": expected["perQuestionType"],
    }


def test_metrics_may_have_more_digits(metric):
    results = metric.compute(**inputs_of(GOLDEN), **types_of(GOLDEN), digits=6)
    assert results["overall"] == GOLDEN["overall"]
    assert results["per_answer_type"] == GOLDEN["perAnswerType"]
    assert results["per_question_type"] == GOLDEN["perQuestionType"]


@pytest.mark.parametrize("case", GENERATED["cases"], ids=lambda case: case["candidate"])
def test_every_generated_question_equals_the_official_evaluator(case):
    assert 100 * vqa_accuracy(case["candidate"], case["answers"]) == pytest.approx(case["accuracy_percent"], abs=1e-9)


def test_halves_are_rounded_as_the_official_evaluator_rounds_them(metric):
    inputs = {"predictions": ["a"] * 800, "references": [["a"] * 10] + [["b"] * 10] * 799}
    results = metric.compute(**inputs, answer_types=["t"] * 800)
    assert results == {"overall": 0.13, "questions": 800, "per_answer_type": {"t": 0.13}}
    assert metric.compute(**inputs, digits=3)["overall"] == 0.125


def test_answers_in_pieces_give_what_they_give_at_once(metric):
    inputs = inputs_of(GOLDEN)
    whole = metric.compute(**inputs, **types_of(GOLDEN))
    for start in range(0, 70, 9):
        metric.add_batch(**{name: values[start : start + 9] for name, values in inputs.items()})
    assert metric.compute(**types_of(GOLDEN)) == whole


def test_types_are_left_out_where_none_are_given(metric):
    assert set(metric.compute(**inputs_of(GOLDEN))) == {"overall", "questions"}


def test_question_without_a_type_counts_in_overall_only(metric):
    results = metric.compute(
        predictions=["a", "b", "c"], references=[["a"] * 10, ["x"] * 10, ["c"] * 10], answer_types=["t", "t", None]
    )
    assert results == {"overall": 66.67, "questions": 3, "per_answer_type": {"t": 50.0}}


def test_single_answers_are_compared_after_nfkc(metric):
    inputs = {"predictions": ["２つ", "白い", " 犬"], "references": [["2つ"], ["白"], ["犬"]], "single_answer": True}
    assert metric.compute(**inputs) == {"overall": 66.67, "questions": 3}
    assert metric.compute(**inputs, nfkc=False)["overall"] == 33.33


def test_single_answers_in_pieces_give_what_they_give_at_once(metric):
    metric.add_batch(predictions=["白"], references=[["白"]])
    metric.add_batch(predictions=["白", "犬"], references=[["黒"], ["犬"]])
    assert metric.compute(single_answer=True, question_types=["q", "r", "r"]) == {
        "overall": 66.67,
        "questions": 3,
        "per_question_type": {"q": 100.0, "r": 50.0},
    }


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"predictions": ["a"], "references": [["a"] * 10] * 2}, r"number of predictions \(1\) and references \(2\)"),
        ({"predictions": ["a", "b"], "references": [["a"] * 10, ["b"]]}, "Question 1 has 1 answers.*single_answer"),
        ({"predictions": ["a", "b"], "references": [["a"] * 10, []]}, "Question 1 has 0 answers"),
        ({"predictions": ["a"], "references": [["a"]]}, "Question 0 has 1 answers.*pass single_answer=True"),
        ({"predictions": ["a"], "references": ["a"]}, "Got a string but expected a list"),
        ({"predictions": ["a"], "references": [["a"] * 10], "single_answer": True}, "Question 0 has 10 answers"),
        ({"predictions": ["a"], "references": [["a"] * 10], "answer_types": ["t", "t"]}, "answer_types holds 2 types"),
        ({"predictions": ["a"], "references": [["a"] * 10], "question_types": []}, "question_types holds 0 types"),
        ({"predictions": [], "references": []}, "no predictions"),
        ({"predictions": [3], "references": [["a"] * 10]}, "don't match the expected format"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(metric, inputs, message):
    with pytest.raises(ValueError, match=message):
        metric.compute(**inputs)
