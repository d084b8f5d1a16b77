"""Labelled images of class folders, shards and data sets: their order, their classes, and what is wrong with them."""

import logging

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.class_folders import image_bytes, write_class_folders
from helpers.tar_files import write_tar
from wenlan.data.rows.report import BadRowError
from wenlan.data.zero_shot.images import OUTSIDE, LabelledImages

IDS = ("apple", "cat", "lake")


def listed(images):
    return [(one.name, one.label) for one in images]


@pytest.fixture
def folder(tmp_path):
    return write_class_folders(tmp_path / "root", {"cat": 2, "apple": 3})


def test_class_folders_give_paths_in_a_stable_order_with_labels_of_the_classes_that_have_images(folder):
    images = LabelledImages(folder, ("lake", "cat", "apple"))
    expected = [(f"apple/{n}.png", 1) for n in range(3)] + [(f"cat/{n}.png", 0) for n in range(2)]
    assert listed(images) == listed(images) == expected
    assert next(one.image for one in images) == str(folder / "apple" / "0.png")
    assert (images.kept, images.without_images, images.count) == ([1, 2], ["lake"], 5)


def test_folder_may_be_relative(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert [one.image for one in LabelledImages(folder.name, IDS)][-1] == str(folder / "cat" / "1.png")


def test_class_without_a_folder_is_left_out_with_a_warning(folder, caplog):
    with caplog.at_level(logging.WARNING):
        LabelledImages(folder, IDS)
    assert "1 of 3 classes have no image and are left out: lake" in caplog.text


def test_folder_without_a_class_is_an_error_that_names_up_to_five(folder):
    for number in range(7):
        (folder / f"other{number}").mkdir()  # even an empty one
    with pytest.raises(ValueError, match=r"7 labels .*: 'other0', .*'other4', \.\.\..* ids of the list are apple, cat"):
        LabelledImages(folder, IDS)


def test_source_without_images_is_an_error(tmp_path):
    (tmp_path / "cat").mkdir()
    with pytest.raises(ValueError, match="lists no image"):
        LabelledImages(tmp_path, IDS)
    (tmp_path / "1.png").write_bytes(image_bytes(1))
    with pytest.raises(ValueError, match="holds no labelled image"):
        LabelledImages(tmp_path, IDS)
    with pytest.raises(FileNotFoundError, match="no folder of class folders"):
        LabelledImages(tmp_path / "absent", IDS)


def test_image_outside_of_the_class_folders_is_counted(folder):
    (folder / "cover.png").write_bytes(image_bytes(9))
    images = LabelledImages(folder, IDS)
    assert images.not_looked_at == {OUTSIDE: 1}
    assert images.count == 5


def test_limit_takes_images_evenly(tmp_path):
    images = LabelledImages(write_class_folders(tmp_path, dict.fromkeys(IDS, 4)), IDS, limit=6)
    assert [label for _, label in listed(images)] == [0, 0, 1, 1, 2, 2]
    assert images.count == 6
    assert LabelledImages(tmp_path, IDS, limit=99).count == 12
    with pytest.raises(ValueError, match="limit is 0"):
        LabelledImages(tmp_path, IDS, limit=0)


def test_digest_tells_replaced_images_and_other_labels(folder):
    first = LabelledImages(folder, IDS).digest
    assert LabelledImages(folder, IDS).digest == first
    (folder / "cat" / "0.png").write_bytes(image_bytes(63))
    replaced = LabelledImages(folder, IDS).digest
    (folder / "cat" / "1.png").rename(folder / "apple" / "9.png")
    assert len({first, replaced, LabelledImages(folder, IDS).digest}) == 3


def test_tar_shards_have_their_labels_in_cls_members(tmp_path):
    for shard in range(2):
        members = {"0.png": image_bytes(0), "0.cls": b"0", "1.png": image_bytes(1), "1.cls": b"1\n"}
        write_tar(tmp_path / f"{shard}.tar", members)
    images = LabelledImages(tmp_path, ("0", "1", "2"))
    assert listed(images) == [("0.tar/0", 0), ("0.tar/1", 1), ("1.tar/0", 0), ("1.tar/1", 1)]
    assert next(iter(images)).image == image_bytes(0)
    assert listed(LabelledImages(str(tmp_path / "1*.tar"), ("0", "1"))) == [("1.tar/0", 0), ("1.tar/1", 1)]


def test_label_that_is_no_class_is_an_error_in_shards_too(tmp_path):
    write_tar(tmp_path / "0.tar", {"a.png": image_bytes(0), "a.cls": b"7"})
    with pytest.raises(ValueError, match="1 labels that are no class ids of the list: '7'"):
        LabelledImages(tmp_path, ("0", "1"))


def test_damaged_shard_is_an_error(tmp_path):
    write_tar(tmp_path / "0.tar", {"a.png": image_bytes(0), "a.cls": b"0", "b.png": image_bytes(0), "b.cls": b"0"})
    content = (tmp_path / "0.tar").read_bytes()
    (tmp_path / "0.tar").write_bytes(content[:2600])
    with pytest.raises(ValueError, match="broken shard"):
        LabelledImages(tmp_path, ("0", "1"))


def test_sample_without_an_image_is_a_bad_row(tmp_path):
    write_tar(tmp_path / "0.tar", {"a.cls": b"0", "b.png": image_bytes(0), "b.cls": b"1"})
    first, second = LabelledImages(tmp_path, ("0", "1"))
    assert (first.label, first.image.cause) == (None, "missing field")
    assert second.label == 1


def test_split_of_shards_is_refused(folder):
    with pytest.raises(ValueError, match="has no splits"):
        LabelledImages(folder, IDS, split="test")


@pytest.fixture
def rows():
    features = datasets.Features({"picture": datasets.Image(), "kind": datasets.ClassLabel(names=["lake", "cat"])})
    pictures = [{"bytes": image_bytes(n), "path": None} for n in range(4)]
    return datasets.Dataset.from_dict({"picture": pictures, "kind": [1, 0, 1, 1]}, features=features)


def check_rows(images):
    assert [label for _, label in listed(images)] == [0, 1, 0, 0]
    assert next(iter(images)).image == image_bytes(0)


def test_numbers_of_a_data_set_stand_for_their_names(rows, tmp_path):
    columns = {"image_column": "picture", "label_column": "kind"}
    check_rows(LabelledImages(rows, IDS, **columns))
    rows.to_parquet(tmp_path / "shards.parquet")
    check_rows(LabelledImages(tmp_path / "shards.parquet", IDS, **columns))
    rows.save_to_disk(tmp_path / "saved")
    check_rows(LabelledImages(tmp_path / "saved", IDS, **columns))
    with pytest.raises(ValueError, match="no column image, label, only picture, kind; give --columns"):
        LabelledImages(rows, IDS)


def test_numbers_without_such_names_are_ids(rows):
    images = LabelledImages(rows, ("1", "0"), image_column="picture", label_column="kind")
    assert [label for _, label in listed(images)] == [0, 1, 0, 0]


def test_data_set_with_several_splits_needs_one(rows, tmp_path):
    datasets.DatasetDict({"train": rows, "test": rows.select([1])}).save_to_disk(tmp_path / "saved")
    columns = {"image_column": "picture", "label_column": "kind"}
    assert LabelledImages(tmp_path / "saved", IDS, split="test", **columns).count == 1
    with pytest.raises(ValueError, match="has the splits train, test; give one as --split"):
        LabelledImages(tmp_path / "saved", IDS, **columns)


def test_data_set_that_is_nowhere_is_an_error():
    with pytest.raises(FileNotFoundError, match="There is no data set nobody/has-this"):
        LabelledImages("nobody/has-this", IDS)


def test_row_of_a_parquet_file_without_image_or_with_a_url_is_bad(tmp_path):
    table = pa.table({"image": ["https://x.org/a.png", None, "../a.png", "b.png"], "label": ["cat"] * 4})
    pq.write_table(table, tmp_path / "0.parquet")
    (tmp_path / "b.png").write_bytes(image_bytes(0))
    images = list(LabelledImages(tmp_path, IDS))
    causes = [one.image.cause for one in images if isinstance(one.image, BadRowError)]
    assert causes == ["image is a URL", "missing field", "path leaves image root"]
    assert images[-1].image == str(tmp_path / "b.png")
