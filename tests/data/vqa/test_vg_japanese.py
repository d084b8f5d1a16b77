import json

import pytest
from wenlan.data import TooManyBadRowsError, read_vqa_vg_japanese


def question(number, image_id, answer="犬", **fields):
    return {"qa_id": number, "image_id": image_id, "question": "何がいますか？", "answer": answer} | fields


@pytest.fixture
def root(tmp_path):
    for name in ("VG_100K/1.jpg", "VG_100K/20.jpg", "VG_100K_2/3.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def write(folder, *questions):
    images = {}
    for one in questions:
        images.setdefault(one.get("image_id"), []).append(one)
    content = [{"id": image, "qas": qas} for image, qas in images.items()]
    (folder / "question_answers.json").write_text(json.dumps(content), "utf-8")
    return folder / "question_answers.json"


GOOD = (question(10, 1), question(11, 1, "２つ"), question(12, 3), question(13, 20))


def test_questions_come_out_with_one_answer_as_it_was_written(root):
    data = read_vqa_vg_japanese(write(root, *GOOD), image_root=root)
    assert data.rows[1] == {
        "image_id": "visual_genome:1",
        "image": "VG_100K/1.jpg",
        "question_id": 11,
        "question": "何がいますか？",
        "answers": ["２つ"],
        "multiple_choice_answer": "２つ",
        "question_type": None,
        "answer_type": None,
        "language": "ja",
        "split": "train",
    }
    assert data.report.rows_kept == 4


def test_images_of_the_second_folder_are_for_validation(root):
    file = write(root, *GOOD)
    assert [row["image"] for row in read_vqa_vg_japanese(file, "validation", image_root=root).rows] == [
        "VG_100K_2/3.jpg"
    ]
    assert [row["question_id"] for row in read_vqa_vg_japanese(file, "train", image_root=root).rows] == [10, 11, 13]


def test_folders_are_known_from_image_data_too(tmp_path, root):
    urls = {1: "VG_100K", 3: "VG_100K_2", 20: "VG_100K"}
    data = [
        {"image_id": number, "url": f"https://example.org/rak248/{name}/{number}.jpg"} for number, name in urls.items()
    ]
    (tmp_path / "image_data.json").write_text(json.dumps(data), "utf-8")
    file = write(root, *GOOD)
    found = read_vqa_vg_japanese(file, image_data=tmp_path / "image_data.json").rows
    assert found == read_vqa_vg_japanese(file, image_root=root).rows


def test_rule_by_number_needs_no_images(tmp_path):
    file = write(tmp_path, *GOOD)
    rows = read_vqa_vg_japanese(file, split_by="id").rows
    assert [(row["image"], row["split"]) for row in rows[2:]] == [("3.jpg", "train"), ("20.jpg", "validation")]


@pytest.mark.parametrize(
    ("cause", "bad"),
    [
        ("duplicate question", question(10, 1)),
        ("broken question", question("x", 1)),
        ("broken question", question(99, None)),
        ("empty answers", question(99, 1, " ")),
        ("empty answers", question(99, 1, None)),
        ("empty text", question(99, 1, question="")),
        ("file missing", question(99, 7)),
    ],
)
def test_bad_question_is_left_out_and_counted(root, cause, bad):
    data = read_vqa_vg_japanese(write(root, *GOOD, bad), image_root=root, max_bad_fraction=0.5)
    assert len(data.rows) == 4
    assert data.report.counts == {cause: 1}


def test_image_that_is_listed_and_not_there_is_counted(root):
    (root / "VG_100K" / "1.jpg").rename(root / "VG_100K" / "100.jpg")
    data = read_vqa_vg_japanese(write(root, *GOOD), image_root=root, split_by="id", max_bad_fraction=0.5)
    assert data.report.counts == {"file missing": 2}


def test_unknown_folders_are_refused_with_the_ways_out(tmp_path):
    file = write(tmp_path, *GOOD)
    with pytest.raises(ValueError, match=r'give image_root, .* or image_data, .*split_by="id"'):
        read_vqa_vg_japanese(file)
    with pytest.raises(FileNotFoundError, match="no images in VG_100K or VG_100K_2"):
        read_vqa_vg_japanese(file, image_root=tmp_path)


def test_wrong_options_and_files_are_refused(tmp_path, root):
    file = write(root, *GOOD)
    with pytest.raises(ValueError, match="split is 'val'"):
        read_vqa_vg_japanese(file, "val", split_by="id")
    with pytest.raises(ValueError, match="split_by is 'number'"):
        read_vqa_vg_japanese(file, split_by="number")
    with pytest.raises(ValueError, match="no question of the split 'validation'"):
        read_vqa_vg_japanese(write(root, question(1, 1)), "validation", split_by="id")
    (tmp_path / "other.json").write_text('[{"id": 1}]', "utf-8")
    with pytest.raises(ValueError, match="not a list of images with their `qas`"):
        read_vqa_vg_japanese(tmp_path / "other.json", split_by="id")
    with pytest.raises(ValueError, match="not a list of images with image_id and url"):
        read_vqa_vg_japanese(file, image_data=tmp_path / "other.json")


def test_only_bad_questions_raise_with_the_counts(root):
    with pytest.raises(TooManyBadRowsError, match="left out 2 x empty answers"):
        read_vqa_vg_japanese(write(root, question(1, 1, ""), question(2, 1, "")), image_root=root, max_bad_fraction=1.0)
