import json

import pytest
from helpers.paths import FIXTURES
from wenlan.evaluation.vqa.accuracy import (
    mean_percent,
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


@pytest.mark.parametrize(
    ("prediction", "annotated", "score"),
    [
        ("１０", ["10"] * 9 + ["ten"], 0),
        ("10", ["１０"] * 10, 0),
        ("１０", ["１０"] * 9 + ["10"], 1),
        ("ten", ["10"] * 9 + ["１０"], 1),
        ("１,０００", ["1000"] * 9 + ["１ ０００"], 0.3),
    ],
)
def test_full_width_digits_are_other_characters_by_the_official_rules(prediction, annotated, score):
    assert vqa_accuracy(prediction, annotated) == score
    assert single_answer_accuracy("１０", "10") == 1  # in compatibility form, which they do not know


# (how many of ten annotators agree, a question each; digits; percent) as Python 2.7.18 runs the official steps.
OFFICIAL = [
    ([0, 0, 1, 4], 0, 33.0),
    ([0] * 5 + [2, 3, 4], 1, 31.3),
    ([0] * 11 + [2] * 3 + [3, 10], 2, 23.13),
    ([0] * 7 + [1] * 3 + [2, 3, 3] + [10] * 3, 2, 39.38),
    ([0] * 799 + [4], 2, 0.13),
    ([0] * 15 + [1], 2, 1.88),
    ([0] * 8 + [1] + [2] * 4 + [3] * 8 + [4] * 5 + [10] * 6, 3, 65.313),
    ([0, 0, 1], 2, 10.0),
]


@pytest.mark.parametrize(("agreeing", "digits", "percent"), OFFICIAL)
def test_percentages_are_rounded_as_the_official_program_rounds_them(agreeing, digits, percent):
    scores = [vqa_accuracy("dog", ["dog"] * agree + ["cat"] * (10 - agree)) for agree in agreeing]
    assert mean_percent(scores, digits) == percent


@pytest.mark.parametrize(
    ("score", "digits", "percent"),
    [(0.00125, 2, 0.13), (0.00375, 2, 0.38), (0.5, 0, 50), (0.25, -1, 30), (1 / 3, 15, 100 / 3), (1 / 3, 30, 100 / 3)],
)
def test_halves_go_away_from_zero(score, digits, percent):
    assert mean_percent([score], digits) == pytest.approx(percent, abs=1e-14)


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
