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


def test_list_without_any_answer_of_training_is_refused(tmp_path):
    files = train_on(write_arguments(tmp_path)).files
    with pytest.raises(ValueError, match=r"None of the 2 answers is an answer to a question of .*questions\.json"):
        add_targets(files, ["oui", "non"], nfkc=False)
