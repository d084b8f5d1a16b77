import json
import os

import pytest
from wenlan.data import read_pairs, write_captions
from wenlan.data.captions.text_corpus import CaptionSource

ROWS = [
    {"image_id": "coco:1", "image": "1.jpg", "split": "train", "captions": {"en": ["a", "b"], "zh": ["狗"]}},
    {"image_id": "coco:2", "image": "2.jpg", "split": "train", "captions": {"en": ["c"]}},
    {"image_id": "coco:3", "image": "3.jpg", "split": "test", "captions": {"zh": ["猫"]}},
]


def lines(file):
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_each_split_is_a_folder_with_a_file_for_each_language(tmp_path):
    written = write_captions(ROWS, tmp_path / "out")
    assert written.counts == {("train", "en"): [2, 3], ("train", "zh"): [1, 1], ("test", "zh"): [1, 1]}
    assert lines(tmp_path / "out" / "train" / "captions_en.jsonl") == [
        {"image": "1.jpg", "image_id": "coco:1", "text": ["a", "b"]},
        {"image": "2.jpg", "image_id": "coco:2", "text": ["c"]},
    ]
    assert str(written).splitlines()[0].split() == ["train", "en", "2", "images", "3", "captions"]


def test_files_are_read_as_captions_of_a_corpus_and_as_pairs(tmp_path):
    write_captions(ROWS, tmp_path)
    source = CaptionSource(tmp_path / "train" / "captions_en.jsonl", "en", 10)
    assert [(row.image, row.captions) for piece in source for row in piece] == [
        ("1.jpg", ("a", "b")),
        ("2.jpg", ("c",)),
    ]
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / name).write_bytes(b"x")
    pairs, _ = read_pairs(tmp_path / "train" / "captions_en.jsonl", image_root=tmp_path)
    assert pairs["text"][:] == [["a", "b"], ["c"]]


def test_another_language_joins_and_the_same_one_is_refused(tmp_path):
    write_captions(ROWS[:2], tmp_path)
    write_captions([ROWS[0] | {"captions": {"ja": ["犬"]}}], tmp_path)
    assert sorted(os.listdir(tmp_path / "train")) == ["captions_en.jsonl", "captions_ja.jsonl", "captions_zh.jsonl"]
    with pytest.raises(ValueError, match=r"captions_en\.jsonl is there already; remove it"):
        write_captions(ROWS[:1], tmp_path)
    assert len(lines(tmp_path / "train" / "captions_en.jsonl")) == 2


def test_failure_on_the_way_leaves_nothing(tmp_path):
    def broken():
        yield ROWS[0]
        raise ValueError("too many bad rows")

    with pytest.raises(ValueError, match="too many bad rows"):
        write_captions(broken(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("row", [{"split": "../x"}, {"captions": {"../en": ["a"]}}])
def test_row_that_would_leave_the_folder_is_refused(tmp_path, row):
    with pytest.raises(ValueError, match="are no split and language of rows"):
        write_captions([ROWS[0] | row], tmp_path / "out")


def test_no_rows_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no captions for"):
        write_captions([], tmp_path / "out")
    assert not (tmp_path / "out").exists()
