import pytest
from helpers.finetuning.caption_files import COCO, write_coco_cn
from wenlan.data import read_captions


def by_id(rows):
    return {row["image_id"]: row for row in rows}


def test_images_of_both_parts_of_coco_come_out_with_written_captions(tmp_path):
    data = read_captions("coco-cn", write_coco_cn(tmp_path))
    rows = by_id(data)
    assert rows["coco:2"] == {
        "image_id": "coco:2",
        "image": "train2014/COCO_train2014_000000000002.jpg",
        "split": "test",
        "captions": {"zh": ["图片 2", "另一句 话"]},
        "source": "coco-cn",
    }
    assert {key: row["split"] for key, row in rows.items()} == {
        "coco:1": "train",
        "coco:4": "val",
        "coco:2": "test",
        "coco:6": "test",
    }
    assert not data.report.counts


def test_translated_captions_are_of_the_test_only(tmp_path):
    rows = by_id(read_captions("coco-cn", write_coco_cn(tmp_path), translated=True))
    assert {key: len(row["captions"]["zh"]) for key, row in rows.items()} == {"coco:2": 5, "coco:6": 5}


@pytest.mark.parametrize(
    ("cause", "line"),
    [
        ("broken line", "COCO_train2014_000000000001#1"),
        ("broken line", "COCO_train2014_000000000001 一句话"),
        ("in no split", "COCO_train2014_000000000099#0\t一句话"),
    ],
)
def test_line_of_no_use_is_counted(tmp_path, cause, line):
    data = read_captions("coco-cn", write_coco_cn(tmp_path, extra=[line]), max_bad_fraction=0.5)
    assert len(list(data)) == 4
    assert data.report.counts == {cause: 1}


def test_line_with_a_space_for_the_tab_is_read(tmp_path):
    rows = by_id(read_captions("coco-cn", write_coco_cn(tmp_path, extra=["COCO_train2014_000000000001#1 一句 话"])))
    assert rows["coco:1"]["captions"]["zh"] == ["图片 1", "一句 话"]


def test_image_of_a_split_without_a_caption_is_counted(tmp_path):
    write_coco_cn(tmp_path)
    with (tmp_path / "coco-cn_train.txt").open("a") as file:
        file.write("COCO_train2014_000000000777\n")
    data = read_captions("coco-cn", tmp_path, max_bad_fraction=0.5)
    assert len(list(data)) == 4
    assert data.report.counts == {"empty text": 1}


def test_image_of_two_splits_is_refused(tmp_path):
    write_coco_cn(tmp_path, splits={"train": [1, 2], "val": [4], "test": [2, 6]})
    with pytest.raises(ValueError, match="COCO_train2014_000000000002 is in the lists of train and of test"):
        list(read_captions("coco-cn", tmp_path))


@pytest.mark.parametrize("name", ["imageid.human-written-caption.txt", "coco-cn_val.txt"])
def test_missing_file_is_named(tmp_path, name):
    write_coco_cn(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"no .*{name}; give the folder of COCO-CN"):
        list(read_captions("coco-cn", tmp_path))


def test_names_are_those_of_coco_captions():
    assert COCO[2] == ("train2014", "train")  # an image of COCO's training list that COCO-CN tests with
