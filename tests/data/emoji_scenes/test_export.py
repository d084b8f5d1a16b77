import json
import os
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image
from wenlan.data import (
    CLASS_NAMES,
    LANGUAGES,
    answer_vocabulary,
    generate_scenes,
    read_coco_detection,
    read_pairs,
    write_emoji_scenes,
)

SMALL = {"num_classes": 16, "canvas": 128}


def read(path):
    return json.loads(path.read_text("utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    output = tmp_path_factory.mktemp("scenes")
    assert write_emoji_scenes(output, "test", 20) is True
    return output / "test"


@pytest.fixture(scope="module")
def rows():
    return list(generate_scenes("test", 20))


def test_folder_holds_the_files_and_nothing_else(folder):
    names = {f"captions_{language}.jsonl" for language in LANGUAGES} | {"answers_en.json", "answers_ja.json"}
    names |= {"v2_OpenEnded_emojiscenes_test_questions.json", "v2_emojiscenes_test_annotations.json"}
    names |= {"v2_OpenEnded_emojiscenes_ja_test_questions.json", "v2_emojiscenes_ja_test_annotations.json"}
    assert {file.name for file in folder.iterdir()} == names | {"images", "instances.json", "scenes.json"}
    assert [entry.name for entry in folder.parent.iterdir()] == ["test"]


def test_images_are_stored_without_loss(folder, rows):
    assert len(list((folder / "images").iterdir())) == 20
    for row in rows:
        with Image.open(folder / "images" / f"{row['image_id']:012d}.png") as image:
            assert image.tobytes() == row["image"].tobytes()


def test_coco_file_gives_the_boxes_back(folder, rows):
    coco = read(folder / "instances.json")
    assert [image["id"] for image in coco["images"]] == [row["image_id"] for row in rows]
    found = {row["image_id"]: [] for row in rows}
    for one in coco["annotations"]:
        x, y, width, height = one["bbox"]
        assert (one["area"], one["iscrowd"]) == (width * height, 0)
        found[one["image_id"]].append((one["category_id"], [x, y, x + width, y + height], one["attribute_ids"]))
    assert found == {
        row["image_id"]: [(one["category_id"], one["bbox"], one["attributes"]) for one in row["objects"]]
        for row in rows
    }
    assert [one["id"] for one in coco["annotations"]] == list(range(1, len(coco["annotations"]) + 1))


def test_coco_file_names_classes_in_seven_languages_and_attributes(folder):
    coco = read(folder / "instances.json")
    assert [one["id"] for one in coco["categories"]] == list(range(128))
    assert coco["categories"][39]["names"] == {language: CLASS_NAMES[language][39] for language in LANGUAGES}
    assert (coco["categories"][39]["name"], coco["categories"][39]["supercategory"]) == ("cat", "Animals & Nature")
    assert [one["name"] for one in coco["attributes"]] == ["big", "small", "wide", "tall"]


def test_reader_of_coco_files_leaves_nothing_out(folder, rows):
    data = read_coco_detection(folder / "instances.json")
    assert len(data.dataset) == data.report.rows_kept == 20
    assert data.class_names == list(CLASS_NAMES["en"])
    assert data.attribute_names == ["big", "small", "wide", "tall"]
    assert not data.report.repairs
    assert [len(row["objects"]) for row in data.dataset] == [len(row["objects"]) for row in rows]
    assert data.dataset[0]["image"].size == (192, 192)


@pytest.mark.parametrize("language", LANGUAGES)
def test_captions_are_pairs_that_can_be_trained_on(folder, rows, language):
    dataset, report = read_pairs(folder / f"captions_{language}.jsonl")
    assert report.rows_kept == 20
    assert list(dataset["text"]) == [row["captions"][language] for row in rows]
    assert dataset[3]["image"].tobytes() == rows[3]["image"].tobytes()


@pytest.mark.parametrize(("language", "name"), [("en", "emojiscenes"), ("ja", "emojiscenes_ja")])
def test_questions_and_annotations_have_the_fields_of_vqa_v2(folder, rows, language, name):
    questions = read(folder / f"v2_OpenEnded_{name}_test_questions.json")
    annotations = read(folder / f"v2_{name}_test_annotations.json")
    assert set(questions) == {"info", "task_type", "data_type", "data_subtype", "license", "questions"}
    assert set(annotations) == {"info", "data_type", "data_subtype", "license", "annotations"}
    ids = [(one["image_id"], one["question_id"]) for one in questions["questions"]]
    assert ids == [(one["image_id"], one["question_id"]) for one in annotations["annotations"]]
    assert len({question_id for _, question_id in ids}) == len(ids) > 100
    assert all(question_id // 100 == image_id for image_id, question_id in ids)
    assert {image_id for image_id, _ in ids} == {row["image_id"] for row in rows}
    assert set(questions["questions"][0]) == {"image_id", "question", "question_id"}
    for one in annotations["annotations"]:
        assert one["multiple_choice_answer"] in answer_vocabulary(language)
        assert [answer["answer_id"] for answer in one["answers"]] == list(range(1, 11))
        assert {answer["answer"] for answer in one["answers"]} == {one["multiple_choice_answer"]}
        assert {answer["answer_confidence"] for answer in one["answers"]} == {"yes"}
        assert one["answer_type"] in ("yes/no", "number", "other")
    assert read(folder / f"answers_{language}.json") == list(answer_vocabulary(language))


def test_known_question_is_asked_in_both_languages(folder):
    texts = [
        read(folder / f"v2_OpenEnded_{name}_test_questions.json")["questions"][4]
        for name in ("emojiscenes", "emojiscenes_ja")
    ]
    assert texts[0] | {"question": ""} == texts[1] | {"question": ""}
    assert [text["question"] for text in texts] == ["Which thing is big?", "大きいものは何ですか？"]


def test_finished_folder_is_left_as_it_is(folder):
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    assert write_emoji_scenes(folder.parent, "test", 20) is False
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before


def test_finished_folder_of_other_settings_is_refused(folder):
    with pytest.raises(ValueError, match=r"made with size 20, not 21; image_format 'png', not 'jpg'\. Remove it or"):
        write_emoji_scenes(folder.parent, "test", 21, image_format="jpg")


def test_damaged_folder_is_refused(tmp_path):
    write_emoji_scenes(tmp_path, "detect", 3, **SMALL)
    image = next((tmp_path / "detect" / "images").iterdir())
    image.write_bytes(image.read_bytes()[:-9])
    with pytest.raises(ValueError, match="detect is damaged: files are missing or have other sizes"):
        write_emoji_scenes(tmp_path, "detect", 3, **SMALL)


@pytest.mark.parametrize("content", [None, "[1]", "{"])
def test_folder_of_something_else_is_refused_and_kept(tmp_path, content):
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "mine.txt").write_text("mine")
    if content is not None:
        (tmp_path / "test" / "scenes.json").write_text(content)
    with pytest.raises(ValueError, match=r"test exists but has no readable scenes\.json"):
        write_emoji_scenes(tmp_path, "test", 3)
    assert (tmp_path / "test" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(("image_format", "kind"), [("webp", "WEBP"), ("jpg", "JPEG")])
def test_images_may_be_stored_with_loss(tmp_path, image_format, kind):
    write_emoji_scenes(tmp_path, "detect", 2, image_format=image_format, **SMALL)
    files = sorted((tmp_path / "detect" / "images").iterdir())
    assert [file.name for file in files] == [f"00000100000{i}.{image_format}" for i in (3, 4)]
    with Image.open(files[0]) as image:
        assert (image.format, image.size) == (kind, (128, 128))
    assert len(read_coco_detection(tmp_path / "detect" / "instances.json").dataset) == 2


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("train", 3), {}, "no split 'train'"),
        (("test", 3), {"image_format": "gif"}, "image_format is 'gif'; it must be one of png, webp, jpg"),
        (("test", 3), {"num_classes": 300}, "num_classes is 300"),
        (("test", -1), {}, "size is -1"),
    ],
)
def test_wrong_options_are_refused_before_a_folder_is_made(tmp_path, arguments, options, message):
    with pytest.raises(ValueError, match=message):
        write_emoji_scenes(tmp_path / "new", *arguments, **options)
    assert not (tmp_path / "new").exists()


def test_split_that_cannot_be_finished_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("wenlan.data.emoji_scenes.dataset.MAX_REPETITIONS", 0)
    with pytest.raises(ValueError, match="different scenes"):
        write_emoji_scenes(tmp_path, "test", 300, num_classes=6, canvas=128)
    assert list(tmp_path.iterdir()) == []


def test_killed_run_leaves_no_split_and_the_next_one_writes_it(tmp_path):
    code = f"from wenlan.data import write_emoji_scenes; write_emoji_scenes({str(tmp_path)!r}, 'detect', 100000)"
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob(".saving-*/images/*"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert [entry.name.startswith(".saving-") for entry in tmp_path.iterdir()] == [True]
    assert write_emoji_scenes(tmp_path, "detect", 4, **SMALL) is True
    assert len(list((tmp_path / "detect" / "images").iterdir())) == 4
