import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.finetuning.vqa_sample import PROCESSOR, THINGS, TRAIN, VAL, train_on, write_arguments, write_questions
from helpers.mlmm.corpus_files import write_regions
from wenlan.data import TooManyBadRowsError
from wenlan.training.vqa.arguments import QuestionArguments
from wenlan.training.vqa.data import load_test, load_training
from wenlan.training.vqa.targets import add_targets, choose_answers


def change(path, key, function):
    """Lets a function change a list of a JSON file."""
    content = json.loads(path.read_text("utf-8"))
    function(content[key])
    path.write_text(json.dumps(content), "utf-8")


def test_question_finds_the_regions_of_its_image(tmp_path):
    questions = train_on(write_arguments(tmp_path))
    add_targets(questions.files, THINGS, nfkc=False)
    assert questions[3]["regions"]["image_id"] == f"COCO_{TRAIN}_{3:012d}.jpg"
    assert questions[3]["text"] == "What is it?"
    assert questions[3]["answers"] == {THINGS.index("owl"): 1.0}
    assert "class_probs" not in questions[3]["regions"]


def test_image_of_the_test_is_found_under_another_of_its_names(tmp_path):
    args = write_arguments(tmp_path)
    write_regions(tmp_path / "regions2017", {f"{number:012d}.jpg": [number] for number in range(3)})
    names = {"image_pattern": "{id:012d}.jpg", "test_regions": [str(tmp_path / "regions2017")]}
    test = load_test(write_arguments(tmp_path / "later", range(3), **names), PROCESSOR)
    files = load_training(args, PROCESSOR, test).files
    assert files[0].report.counts == {"image of the test": 3}
    assert len(files[0].rows) == 7


def test_annotations_are_found_by_their_official_name_or_given(tmp_path):
    args = write_arguments(tmp_path)
    other = (tmp_path / f"v2_mscoco_{TRAIN}_annotations.json").rename(tmp_path / "other.json")
    with pytest.raises(TooManyBadRowsError, match="Give their annotations"):
        train_on(args)
    files = train_on(replace(args, annotations=[str(other)])).files
    assert len(files[0].rows) == 10


def test_questions_without_regions_are_left_out_of_training_and_answered_in_the_test(tmp_path):
    args = write_arguments(tmp_path, range(20), without_regions=[4])
    files = train_on(args).files
    assert files[0].report.counts == {"image without regions": 1}
    assert len(files[0].rows) == 19
    test = load_test(args, PROCESSOR)
    assert test.files[0].report.repairs == {"image without regions, answered without looking": 1}
    assert len(test[4]["regions"]["boxes"]) == 0


def test_two_images_of_questions_that_fit_the_same_regions_are_refused(tmp_path):
    args = write_arguments(tmp_path, range(2))
    write_regions(tmp_path / "regions", {"0.jpg": [0]})
    with pytest.raises(ValueError, match=r"questions\.json: 0/0\.jpg and 1/0\.jpg both fit the regions of 0\.jpg"):
        train_on(replace(args, image_pattern="{id}/0.jpg"))


def test_test_files_of_one_name_are_refused(tmp_path):
    args = write_arguments(tmp_path)
    other = write_questions(tmp_path / "other", VAL, [1])
    with pytest.raises(ValueError, match="Two files of test questions are named"):
        load_test(replace(args, test_questions=[*args.test_questions, other]), PROCESSOR)


@pytest.mark.parametrize("load", [train_on, lambda args: load_test(args, PROCESSOR)])
def test_too_many_images_without_regions_are_refused_with_the_way_out(tmp_path, load):
    with pytest.raises(TooManyBadRowsError, match="image_pattern"):
        load(write_arguments(tmp_path, without_regions=range(5)))


def test_empty_answers_and_questions_without_annotation_are_left_out_and_counted(tmp_path):
    args = write_arguments(tmp_path, range(40))

    def spoil(annotations):
        annotations.pop(0)
        annotations[0]["answers"] = [{"answer": " ", "answer_confidence": "no", "answer_id": 1}]

    change(tmp_path / f"v2_mscoco_{TRAIN}_annotations.json", "annotations", spoil)
    files = train_on(args).files
    assert files[0].report.counts == {"question without annotation": 1, "empty answers": 1}
    assert "left out 1 x empty answers" in str(files[0])


def test_long_questions_are_cut_and_counted(tmp_path):
    args = write_arguments(tmp_path)
    change(
        tmp_path / f"v2_OpenEnded_mscoco_{TRAIN}_questions.json",
        "questions",
        lambda questions: questions[0].update(question="What is it? " * 30),
    )
    files = train_on(args).files
    assert files[0].report.repairs == {"more than 60 word pieces, cut": 1}


def write_japanese(path, numbers):
    """Writes a file of VQA VG Japanese with one question an image."""
    rows = [{"qa_id": n, "image_id": n, "question": "いくつ？", "answer": "１つ" if n % 2 else "2つ"} for n in numbers]
    path.write_text(json.dumps([{"id": row["image_id"], "qas": [row]} for row in rows]), "utf-8")
    return str(path)


def test_japanese_file_is_split_and_its_one_answer_counts_as_ten(tmp_path):
    path = write_japanese(tmp_path / "question_answers.json", range(1, 31))
    write_regions(tmp_path / "regions", {f"{number}.jpg": [0] for number in range(1, 31)})
    folders = {"regions": [str(tmp_path / "regions")], "test_regions": [str(tmp_path / "regions")]}
    languages = {"languages": ["ja"], "test_languages": ["ja"]}
    args = QuestionArguments([path], test_questions=[path], **folders, **languages, max_answers=3000)
    test = load_test(args, PROCESSOR)
    files = load_training(args, PROCESSOR, test).files
    assert (len(files[0].rows), len(test.rows)) == (27, 3)
    answers = choose_answers(args, files)
    assert answers == ["１つ", "2つ"]
    add_targets(files, answers, nfkc=False)
    assert files[0].rows[0]["targets"] == {0: 1.0}
    assert set(choose_answers(replace(args, nfkc_answers=True), files)) == {"1つ", "2つ"}


def test_japanese_file_in_another_language_is_refused(tmp_path):
    path = write_japanese(tmp_path / "question_answers.json", range(1, 4))
    with pytest.raises(ValueError, match="its language is ja, not en"):
        train_on(replace(write_arguments(tmp_path), questions=[path]))


def test_packed_questions_are_refused_by_name(tmp_path):
    args = write_arguments(tmp_path)
    packed = tmp_path / "v2_questions.json.gz"
    packed.write_bytes(gzip.compress(Path(args.questions[0]).read_bytes()))
    with pytest.raises(ValueError, match=r"v2_questions\.json\.gz is packed; unpack it"):
        train_on(replace(args, questions=[str(packed)]))
