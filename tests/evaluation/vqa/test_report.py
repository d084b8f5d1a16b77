import numpy as np
import pytest
from wenlan.evaluation.vqa.report import (
    MajorityBaseline,
    format_metrics,
    image_interval,
    merge_control,
    prepare_for,
    score_answer,
    vqa_accuracies,
    vqa_metrics,
)


def row(question, answers, *, image="1", language="en", question_type="what", answer_type="other"):
    names = {"question": question, "answers": answers, "multiple_choice_answer": answers[0], "language": language}
    kinds = {"question_type": question_type, "answer_type": answer_type}
    return {"image_id": image, "question_id": len(question), **names, **kinds}


ROWS = [
    row("what is it", ["cat"] * 10),
    row("what is that", ["dog"] * 9 + ["cat"], image="2"),
    row("how many", ["two"] * 6 + ["2"] * 2 + ["many"] * 2, image="2", question_type="how many", answer_type="number"),
    row("何ですか", ["１つ"], image="3", language="ja", question_type=None, answer_type=None),
]


def test_accuracies_are_given_by_language_and_answer_type():
    found = vqa_accuracies(ROWS, ["cat", "cat", "2", "1つ"])
    assert found["accuracy"] == pytest.approx((100 + 30 + 100 + 100) / 4)
    assert found["accuracy_en_other"] == pytest.approx(65)
    assert found["accuracy_en_number"] == 100
    assert found["accuracy_ja"] == 100
    assert not any(name.startswith("accuracy_ja_") for name in found)


def test_every_kind_of_question_has_its_metrics():
    english = vqa_metrics(ROWS, ["cat", "cat", "2", "1つ"], ["cat", "dog", "2"])["en"]
    assert english["count"] == 3
    assert {kind: cell["count"] for kind, cell in english["question_types"].items()} == {"what": 2, "how many": 1}
    assert english["question_types"]["what"]["accuracy"] == pytest.approx(65)
    assert english["answer_types"]["number"]["accuracy"] == 100


def test_oracle_accuracy_is_the_best_that_the_answers_allow():
    metrics = vqa_metrics(ROWS, ["cat"] * 4, ["cat", "yes"])
    assert metrics["en"]["oracle_accuracy"] == pytest.approx((100 + 30 + 0) / 3)
    assert metrics["ja"]["oracle_accuracy"] == 0
    assert vqa_metrics(ROWS, ["cat"] * 4, ["cat", "1つ"])["ja"]["oracle_accuracy"] == 100


def test_accuracy_never_passes_the_oracle_where_the_vocabulary_is_not_normalised():
    metrics = vqa_metrics(ROWS[:3], ["cat", "cat", "Two"], ["Two"])["en"]
    assert (
        metrics["question_types"]["how many"]["accuracy"]
        == metrics["question_types"]["how many"]["oracle_accuracy"]
        == 100
    )


def test_chance_is_the_accuracy_of_any_answer_of_the_vocabulary():
    metrics = vqa_metrics(ROWS, ["cat"] * 4, ["cat", "dog", "yes", "1つ"])
    assert metrics["en"]["chance"] == pytest.approx((25 + (30 + 100) / 4 + 0) / 3)
    assert metrics["ja"]["chance"] == 25
    assert "chance" in format_metrics(metrics)


def test_single_answers_are_scored_with_and_without_compatibility_forms():
    japanese = vqa_metrics(ROWS, ["cat", "cat", "2", "1つ"], ["1つ"])["ja"]
    assert (japanese["accuracy"], japanese["accuracy_without_nfkc"]) == (100, 0)
    assert "accuracy_without_nfkc" not in vqa_metrics(ROWS, ["cat"] * 4, ["cat"])["en"]


def test_majority_is_the_answer_of_the_exact_question_in_training():
    training = [row("what is it", ["dog"] * 10), row("what is it", ["cat"] * 10), row("what is it", ["cat"] * 10)]
    training += [row("is it", ["dog"] * 10)] * 3
    common = MajorityBaseline(training)
    assert common(ROWS[0]) == "cat"
    assert common(ROWS[1]) == "dog"  # not seen: the most common of the language
    assert common(ROWS[3]) == ""
    assert vqa_metrics(ROWS, ["x"] * 4, ["cat"], majority=common)["en"]["majority"] == pytest.approx((100 + 100) / 3)


def test_empty_answers_of_annotators_are_never_the_most_common():
    assert MajorityBaseline([row("what", ["", "", "the", "cat"])])(row("what", ["cat"])) == "cat"


def test_english_answers_are_normalised_by_the_rules_of_vqa_and_japanese_ones_are_not():
    assert prepare_for("en", "The Two, cats.") == "2 cats"
    assert prepare_for("ja", " T-シャツ１ ") == "T-シャツ１"
    assert prepare_for("ja", "T-シャツ１", nfkc=True) == "T-シャツ1"


def test_score_is_official_for_ten_and_equality_for_one():
    assert score_answer("cat", ["cat"] * 3 + ["dog"] * 7) == pytest.approx(0.9)
    assert score_answer("cat", ["cat"]) == 1


def test_interval_draws_whole_images():
    scores, images = np.repeat([0.0, 100.0], 50), np.repeat(np.arange(10), 10)
    low, high = image_interval(scores, images)
    assert low < 25 < 75 < high  # ten images; of a hundred questions drawn alone it would be 40 to 60
    assert image_interval(scores, images) == [low, high]


def test_table_has_a_line_for_every_kind_and_the_control_beside():
    metrics = vqa_metrics(ROWS, ["cat", "cat", "2", "1つ"], ["cat", "dog", "2"])
    merge_control(metrics, vqa_metrics(ROWS, ["dog"] * 4, ["cat", "dog", "2"]), "question_only")
    assert metrics["en"]["question_types"]["what"]["question_only"] == pytest.approx(50)
    lines = format_metrics(metrics).splitlines()
    assert len(lines) == 1 + 1 + 2 + 2 + 1 + 1  # English with two kinds of each, Japanese without
    assert "question only" in lines[0]
    assert lines[2].split()[:3] == ["number", "1", "100.0"]
