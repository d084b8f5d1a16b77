import json

import pytest
from PIL import Image
from wenlan.data import TooManyBadRowsError, read_vqa, write_emoji_scenes


def question(number, image_id=42, **fields):
    return {"question_id": number, "image_id": image_id, "question": f"What is number {number}?"} | fields


def annotation(number, image_id=42, answers=("dog",) * 10, **fields):
    listed = [{"answer": one, "answer_confidence": "yes", "answer_id": i} for i, one in enumerate(answers, start=1)]
    kinds = {
        "multiple_choice_answer": answers[0] if answers else "",
        "question_type": "what is",
        "answer_type": "other",
    }
    return {"question_id": number, "image_id": image_id, "answers": listed} | kinds | fields


def write(folder, questions, annotations=None, *, subtype="train2014", data_type="mscoco", annotated=None):
    """The two files; the name of the second is None without annotations."""
    header = {"info": {}, "license": {}, "data_type": data_type}
    first, second = folder / "questions.json", folder / "annotations.json"
    first.write_text(json.dumps(header | {"data_subtype": subtype, "questions": questions}), "utf-8")
    if annotations is None:
        return first, None
    second.write_text(json.dumps(header | {"data_subtype": annotated or subtype, "annotations": annotations}), "utf-8")
    return first, second


def test_questions_come_out_with_image_and_answers(tmp_path):
    answers = ("dog",) * 7 + ("Dog", "", "a dog")
    files = write(tmp_path, [question(420, 42), question(421, 42)], [annotation(421), annotation(420, answers=answers)])
    data = read_vqa(*files)
    assert data.rows[0] == {
        "image_id": "coco:42",
        "image": "train2014/COCO_train2014_000000000042.jpg",
        "question_id": 420,
        "question": "What is number 420?",
        "answers": list(answers),
        "multiple_choice_answer": "dog",
        "question_type": "what is",
        "answer_type": "other",
        "language": "en",
        "split": "train2014",
    }
    assert [row["question_id"] for row in data.rows] == [420, 421]
    assert str(data.report).endswith("kept 2 of 2 rows (0.0% bad)")


def test_test_without_annotations_has_no_answers(tmp_path):
    (row,) = read_vqa(*write(tmp_path, [question(1)], subtype="test2015")).rows
    assert (row["answers"], row["multiple_choice_answer"], row["answer_type"]) == (None, None, None)


@pytest.mark.parametrize("text", ["", "image", None, "http://x.org/1.jpg"])
def test_question_of_a_test_stays_whatever_it_says_and_is_counted(tmp_path, text):
    data = read_vqa(*write(tmp_path, [question(1, question=text)], subtype="test2015"))
    assert [(row["question_id"], row["question"]) for row in data.rows] == [(1, "?")]
    assert data.report.repairs == {"question without words": 1}


def test_images_of_test_dev_are_those_of_the_test(tmp_path):
    (row,) = read_vqa(*write(tmp_path, [question(1)], subtype="test-dev2015")).rows
    assert row["image"] == "test2015/COCO_test2015_000000000042.jpg"
    assert row["split"] == "test-dev2015"


@pytest.mark.parametrize(
    ("cause", "questions", "annotations"),
    [
        ("question without annotation", [question(9)], []),
        ("duplicate question", [question(1)], []),
        ("broken question", ["no question"], []),
        ("broken question", [question("9")], []),
        ("broken question", [question(9, image_id=None)], [annotation(9)]),
        ("empty text", [question(9, question=" ")], [annotation(9)]),
        ("text is no string", [question(9, question=None)], [annotation(9)]),
        ("empty answers", [question(9)], [annotation(9, answers=())]),
        ("empty answers", [question(9)], [annotation(9, answers=(" ",) * 10)]),
        ("broken annotation", [question(9)], [annotation(9) | {"answers": "dog"}]),
        ("broken annotation", [question(9)], [annotation(9) | {"answers": [{"answer": 3}]}]),
        ("broken annotation", [question(9)], [annotation(9) | {"answers": [None]}]),
        ("another image", [question(9, 42)], [annotation(9, 43)]),
    ],
)
def test_bad_question_is_left_out_and_counted(tmp_path, cause, questions, annotations):
    files = write(tmp_path, [question(1), *questions], [annotation(1), *annotations])
    data = read_vqa(*files, max_bad_fraction=0.5)
    assert [row["question_id"] for row in data.rows] == [1]
    assert data.report.counts == {cause: 1}
    assert "questions.json, row question 1:" in data.report.examples[cause]


@pytest.mark.parametrize(
    ("cause", "annotations"),
    [
        ("annotation without question", [annotation(7)]),
        ("duplicate annotation", [annotation(1, answers=("cat",) * 10)]),
        ("broken annotation", [{"answers": []}]),
        ("broken annotation", ["no annotation"]),
    ],
)
def test_annotation_of_no_use_is_counted_and_costs_no_question(tmp_path, cause, annotations):
    data = read_vqa(*write(tmp_path, [question(1)], [annotation(1), *annotations]))
    assert data.rows[0]["answers"] == ["dog"] * 10
    assert data.report.repairs == {cause: 1}


def test_other_numbers_of_answers_than_ten_and_one_are_kept_and_counted(tmp_path):
    annotations = [annotation(1, answers=("dog",)), annotation(2, answers=("dog", "cat"))]
    data = read_vqa(*write(tmp_path, [question(1), question(2)], annotations))
    assert [row["answers"] for row in data.rows] == [["dog"], ["dog", "cat"]]
    assert data.report.repairs == {"unusual number of answers": 1}


def test_annotations_of_other_questions_are_refused_with_the_counts(tmp_path):
    files = write(tmp_path, [question(1), question(2)], [annotation(3), annotation(4)])
    with pytest.raises(TooManyBadRowsError, match=r"left out 2 x question without annotation(.|\n)*repaired 2 x annot"):
        read_vqa(*files)


def test_annotations_of_another_split_are_refused(tmp_path):
    files = write(tmp_path, [question(1)], [annotation(1)], annotated="val2014")
    with pytest.raises(ValueError, match="annotates 'val2014', but the questions are of 'train2014'"):
        read_vqa(*files)


def test_thirty_percent_bad_questions_finish_where_half_may_be_bad(tmp_path):
    files = write(tmp_path, [question(i) for i in range(10)], [annotation(i) for i in range(7)])
    with pytest.raises(TooManyBadRowsError, match="left out 3 x question without annotation"):
        read_vqa(*files)
    assert len(read_vqa(*files, max_bad_fraction=0.5).rows) == 7


@pytest.mark.parametrize("folder", ["train2014", "."])
def test_image_is_looked_for_in_its_folder_and_in_the_root_itself(tmp_path, folder):
    images = tmp_path / "images"
    (images / folder).mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(images / folder / "COCO_train2014_000000000042.jpg")
    data = read_vqa(*write(tmp_path, [question(1), question(2, 43)]), image_root=images, max_bad_fraction=0.5)
    assert [row["question_id"] for row in data.rows] == [1]
    assert (images / data.rows[0]["image"]).is_file()
    assert data.report.counts == {"file missing": 1}


def test_names_of_images_can_be_given(tmp_path):
    files = write(tmp_path, [question(1)], data_type="mine")
    assert read_vqa(*files, image_pattern="images/{id:04d}.png").rows[0]["image"] == "images/0042.png"
    with pytest.raises(ValueError, match="data_type 'mine', not 'mscoco', and no image_pattern in its info; say how"):
        read_vqa(*files)
    with pytest.raises(ValueError, match="neither id nor subtype"):
        read_vqa(*files, image_pattern="{number}.png")


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "is no JSON"), ("[]", "has no list 'questions'"), ('{"annotations": []}', r"only \['annotations'\]")],
)
def test_file_of_another_form_is_refused(tmp_path, content, message):
    (tmp_path / "questions.json").write_text(content, "utf-8")
    with pytest.raises(ValueError, match=message):
        read_vqa(tmp_path / "questions.json")


def test_missing_file_and_unknown_language_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.json"):
        read_vqa(tmp_path / "none.json")
    with pytest.raises(ValueError, match="no language 'xx', only zh"):
        read_vqa(tmp_path / "none.json", language="xx")


def test_part_of_a_file_does_not_count_the_annotations_of_the_rest(tmp_path):
    data = read_vqa(*write(tmp_path, [question(1), question(2)], [annotation(1), annotation(2)]), max_rows=1)
    assert len(data.rows) == 1
    assert not data.report.repairs


@pytest.mark.parametrize(("language", "name"), [("en", "emojiscenes"), ("ja", "emojiscenes_ja")])
def test_emojiscenes_are_read_with_their_images(tmp_path, language, name):
    write_emoji_scenes(tmp_path, "test", 3, num_classes=16, canvas=128, image_format="webp")
    folder = tmp_path / "test"
    files = folder / f"v2_OpenEnded_{name}_test_questions.json", folder / f"v2_{name}_test_annotations.json"
    data = read_vqa(*files, language=language, image_root=folder)
    assert len(data.rows) == data.report.rows_read > 3
    assert all((folder / row["image"]).is_file() for row in data.rows)
    assert {row["language"] for row in data.rows} == {language}
    assert {len(set(row["answers"])) for row in data.rows} == {1}
    assert not data.report.repairs
