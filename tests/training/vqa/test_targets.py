import json
from dataclasses import replace

import pytest
from helpers.finetuning.vqa_sample import train_on, write_arguments
from wenlan.training.vqa.targets import add_targets, choose_answers


def test_answers_outside_the_vocabulary_leave_a_row_of_zeros_and_are_counted(tmp_path):
    files = train_on(write_arguments(tmp_path)).files
    add_targets(files, ["cat", "dog"], nfkc=False)
    assert [row["targets"] for row in files[0].rows[:3]] == [{0: 1.0}, {1: 1.0}, {}]
    assert files[0].report.repairs == {"no answer in the vocabulary": 4}


def test_vocabulary_is_counted_by_language_or_read(tmp_path):
    args = write_arguments(tmp_path)
    files = train_on(args).files
    assert choose_answers(args, files) == ["cat", "dog", "cow", "owl"]
    assert choose_answers(replace(args, min_answer_questions=3), files) == ["cat", "dog"]
    assert choose_answers(replace(args, max_answers=1), files) == ["cat"]
    lists = [["yes", "2"], ["はい", "2"]]
    for number, answers in enumerate(lists):
        (tmp_path / f"{number}.json").write_text(json.dumps(answers), "utf-8")
    paths = [str(tmp_path / f"{number}.json") for number in range(2)]
    assert choose_answers(replace(args, answers=paths), files) == ["yes", "2", "はい"]


@pytest.mark.parametrize("answers", [["oui", "non"], ["owl"]])
def test_list_that_most_questions_have_no_answer_in_is_refused(tmp_path, answers):
    files = train_on(write_arguments(tmp_path)).files
    with pytest.raises(ValueError, match=r"\d+ of \d+ questions of .*questions\.json have no answer among the"):
        add_targets(files, answers, nfkc=False)
    add_targets(files, ["owl", "cat"], nfkc=False, max_bad_fraction=0.9)


def test_answers_left_out_are_warned_of_beyond_the_fraction(tmp_path, caplog):
    files = train_on(write_arguments(tmp_path)).files
    add_targets(files, ["cat", "dog"], nfkc=False)
    assert "have no answer among the 2 of the vocabulary" in caplog.text
    caplog.clear()
    add_targets(files, ["cat", "dog"], nfkc=False, max_bad_fraction=0.5)
    assert not caplog.records
