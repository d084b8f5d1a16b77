import json

import pytest
from helpers.paths import FIXTURES
from wenlan.evaluation.vqa.accuracy import (
    normalize_answer,
    prepare_answer,
    process_punctuation,
    single_answer_accuracy,
    vqa_accuracy,
)
from wenlan.processing import soft_targets

GOLDEN = FIXTURES / "mlmm" / "metrics"
CASES = json.loads((GOLDEN / "vqa_accuracy.json").read_text("utf-8"))["cases"]
STRINGS = json.loads((GOLDEN / "vqa_normalisation.json").read_text("utf-8"))
TARGETS = json.loads((GOLDEN / "vqa_targets.json").read_text("utf-8"))


@pytest.mark.parametrize("case", STRINGS, ids=lambda case: repr(case["text"]))
def test_normalisation_equals_the_official_steps(case):
    assert process_punctuation(case["text"]) == case["after_punctuation"]
    assert normalize_answer(case["text"]) == case["after_punctuation_then_digit_article"]
    assert prepare_answer(case["text"]) == case["training_preprocess"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['question_id']} {case['tag']}")
def test_accuracy_equals_the_official_evaluator(case):
    assert 100 * vqa_accuracy(case["candidate"], case["answers"]) == pytest.approx(case["accuracy_percent"], abs=1e-6)


@pytest.mark.parametrize("case", TARGETS["targets"], ids=lambda case: " ".join(case["answers"]))
def test_prepared_answers_give_the_golden_targets(case):
    targets = soft_targets([prepare_answer(answer) for answer in case["answers"]], TARGETS["answer_to_label"])
    assert targets == dict(zip(case["labels"], case["scores"], strict=True))


@pytest.mark.parametrize(("agree", "score"), TARGETS["score_of_count"].items())
def test_soft_target_of_a_count_is_the_accuracy_of_that_answer(agree, score):
    answers = ["dog"] * int(agree) + ["cat"] * (10 - int(agree))
    assert vqa_accuracy("dog", answers) == pytest.approx(score, abs=1e-12)


def test_spaces_around_the_annotators_answers_do_not_count():
    assert vqa_accuracy("two", [" two\n"] * 10) == 1


def test_full_width_digits_do_not_make_a_comma_one_of_a_number():
    assert normalize_answer("１,０") == "１ ０"  # the official program is Python 2, whose \d is 0 to 9


def test_at_most_32_periods_are_dropped():
    assert normalize_answer("a." * 40) == "a" * 32 + "a." * 8


@pytest.mark.parametrize("answers", [[], ["dog"]])
def test_accuracy_of_fewer_than_two_answers_is_refused(answers):
    with pytest.raises(ValueError, match=f"got {len(answers)} answers.*single_answer_accuracy"):
        vqa_accuracy("dog", answers)


@pytest.mark.parametrize(
    ("prediction", "answer", "with_nfkc", "without"),
    [
        ("白", "白", 1, 1),
        ("白い", "白", 0, 0),
        (" 白\n", "白\u3000", 1, 1),
        ("２つ", "2つ", 1, 0),
        ("ﾃﾚﾋﾞ", "テレビ", 1, 0),
        ("the 白", "白", 0, 0),
        ("TV", "tv", 0, 0),
    ],
)
def test_single_answer_is_right_if_equal_after_nfkc_and_strip(prediction, answer, with_nfkc, without):
    assert single_answer_accuracy(prediction, answer) == with_nfkc
    assert single_answer_accuracy(prediction, answer, nfkc=False) == without
