import json
from collections import Counter

import pytest
from helpers.paths import FIXTURES
from wenlan.data import answer_vocabulary, build_answers, oracle_accuracy, read_answers, write_answers
from wenlan.evaluation import prepare_answer, single_answer_accuracy, vqa_accuracy

GOLDEN = FIXTURES / "mlmm" / "metrics" / "vqa_targets.json"


def row(number, answer, answers=None):
    return {
        "question_id": number,
        "language": "en",
        "multiple_choice_answer": answer,
        "answers": answers or [answer] * 10,
    }


def rows(text):
    return [row(number, answer) for number, answer in enumerate(text.split())]


def test_answers_of_enough_questions_are_those_of_the_reference():
    golden = json.loads(GOLDEN.read_text("utf-8"))["vocabulary"]
    answers = build_answers(golden["annotations"], min_questions=golden["min_occurrence"], prepare=prepare_answer)
    assert set(answers) == set(golden["kept"])
    assert answers == sorted(answers, key=lambda answer: (-golden["kept"][answer], answer))


def test_question_that_is_there_many_times_counts_once():
    golden = json.loads(GOLDEN.read_text("utf-8"))["vocabulary"]
    rare = [annotation for annotation in golden["annotations"] if annotation["multiple_choice_answer"] == "rare one"]
    kept = build_answers(
        golden["annotations"] + rare * 5, min_questions=golden["min_occurrence"], prepare=prepare_answer
    )
    assert set(kept) == set(golden["kept"])


def test_equal_numbers_of_two_languages_are_two_questions():
    both = [row(1, "dog"), row(1, "dog") | {"language": "ja"}]
    assert build_answers(both, min_questions=2) == ["dog"]


def test_threshold_is_a_smallest_number():
    assert build_answers(rows("a a b b b c"), min_questions=2) == ["b", "a"]
    assert build_answers(rows("a a b b b c"), min_questions=3) == ["b"]


def test_size_takes_the_commonest_and_of_equal_ones_the_first_by_code_points():
    assert build_answers(rows("d c b a a"), size=3) == ["a", "b", "c"]
    assert build_answers(rows("b a a c d"), size=3) == ["a", "b", "c"]
    assert len(build_answers(rows("a b"), size=3000)) == 2


def test_single_answer_stands_for_all():
    single = [{"question_id": 1, "answers": ["犬"]}, {"question_id": 2, "answers": ["犬"]}]
    assert build_answers(single, min_questions=2) == ["犬"]


def test_answer_that_is_prepared_to_nothing_is_one_as_in_the_lists_of_peers(tmp_path):
    answers = build_answers(rows("the dog ... the"), min_questions=1, prepare=prepare_answer)
    assert answers == ["", "dog"]
    write_answers(answers, tmp_path / "answers.json")
    assert read_answers(tmp_path / "answers.json") == answers


def test_wrong_rules_and_rows_are_refused():
    with pytest.raises(ValueError, match="either min_questions"):
        build_answers(rows("a"))
    with pytest.raises(ValueError, match="either min_questions"):
        build_answers(rows("a"), min_questions=9, size=3)
    with pytest.raises(ValueError, match="must be 1 or more"):
        build_answers(rows("a"), size=0)
    with pytest.raises(ValueError, match="No answer belongs to 9 of the 2 questions"):
        build_answers(rows("a b"), min_questions=9)
    with pytest.raises(ValueError, match="Question 5 has no multiple_choice_answer"):
        build_answers([{"question_id": 5, "answers": None}], size=3)


def test_list_is_read_as_it_was_written(tmp_path):
    write_answers(["犬", "cat", "2"], tmp_path / "new" / "answers.json")
    assert read_answers(tmp_path / "new" / "answers.json") == ["犬", "cat", "2"]


def test_answers_with_numbers_come_in_the_order_of_these(tmp_path):
    (tmp_path / "answers.json").write_text('{"cat": 1, "dog": 0, "2": 2}', "utf-8")
    assert read_answers(tmp_path / "answers.json") == ["dog", "cat", "2"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "no JSON"),
        ("[]", "holds no answers"),
        ("3", "holds no answers"),
        ('["a", "a"]', "'a' twice"),
        ('["a", 3]', "'3' is no answer"),
        ('["", "a", "\\u200b"]', "is no answer"),
        ('["a", "\\u3164\\u2800"]', "is no answer"),
        ('{"a": 0, "b": 2}', "not numbered from 0 to 1"),
        ('{"a": 0, "b": 0}', "not numbered from 0 to 1"),
        ('{"a": "0"}', "not numbered"),
        ('{"a": false}', "not numbered"),
        ("{}", "not numbered"),
    ],
)
def test_file_that_is_no_list_of_answers_is_refused(tmp_path, content, message):
    (tmp_path / "answers.json").write_text(content, "utf-8")
    with pytest.raises(ValueError, match=message):
        read_answers(tmp_path / "answers.json")


def test_oracle_accuracy_is_the_mean_of_the_best_scores_in_reach():
    questions = [row(1, "dog"), row(2, "cat"), row(3, "dog", ["dog"] * 2 + ["cat"] * 8)]
    assert oracle_accuracy(questions, ["dog"], vqa_accuracy) == pytest.approx((1 + 0 + 0.6) / 3)
    assert oracle_accuracy(questions, ["dog", "cat"], vqa_accuracy) == pytest.approx(1)


def test_oracle_accuracy_is_that_of_all_answers_tried_one_by_one():
    golden = json.loads(GOLDEN.read_text("utf-8"))
    answered = [case["answers"] for case in golden["targets"] if len(case["answers"]) == 10]
    questions = [row(number, "", answers) for number, answers in enumerate(answered)]
    given = Counter(prepare_answer(answer) for one in questions for answer in one["answers"])
    listed = [answer for answer, _ in given.most_common(12)]
    best = [max(vqa_accuracy(answer, one["answers"]) for answer in listed) for one in questions]
    assert oracle_accuracy(questions, listed, vqa_accuracy, prepare=prepare_answer) == pytest.approx(
        sum(best) / len(best)
    )
    assert 0 < sum(best) < len(best)


def test_oracle_accuracy_counts_listed_answers_that_are_not_normalised():
    questions = [row(1, "2", ["two"] * 6 + ["2"] * 2 + ["many"] * 2)]
    assert vqa_accuracy("Two", questions[0]["answers"]) == 1
    assert oracle_accuracy(questions, ["Two"], vqa_accuracy, prepare=prepare_answer) == 1


def test_oracle_accuracy_of_single_answers_is_the_fraction_in_the_list():
    def accuracy(prediction, answers):
        return single_answer_accuracy(prediction, answers[0])

    questions = [row(1, "犬", ["犬"]), row(2, "猫", ["猫"])]
    assert oracle_accuracy(questions, ["犬"], accuracy) == 0.5


def test_oracle_accuracy_without_questions_or_answers_is_refused():
    with pytest.raises(ValueError, match="no questions"):
        oracle_accuracy([], ["a"], vqa_accuracy)
    with pytest.raises(ValueError, match="Question 4 has no answers"):
        oracle_accuracy([{"question_id": 4, "answers": None}], ["a"], vqa_accuracy)


def test_list_of_emojiscenes_keeps_its_name_beside_these():
    assert len(answer_vocabulary("ja")) == 149
