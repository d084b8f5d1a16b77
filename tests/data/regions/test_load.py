import dataclasses
import logging
import pickle

import numpy as np
import pytest
import torch
from helpers.regions.rows import INFO, random_row, same
from torch.utils.data import DataLoader
from wenlan.data import RegionShardError, read_region_info, read_regions
from wenlan.data.regions import load as region_reading
from wenlan.data.regions.shards import write_shard

ROWS = [random_row(f"{index}.png", count=index, seed=index) for index in range(1, 7)]


def write(folder, rows=ROWS, info=INFO, shards=3):
    size = len(rows) // shards
    for shard in range(shards):
        part = [info.encode(row) for row in rows[shard * size : (shard + 1) * size]]
        write_shard(folder / f"regions-{shard:05d}-of-{shards:05d}.parquet", part, info)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def shard_of(folder, index):
    return sorted(folder.glob("regions-*"))[index]


def damage(path):
    """Flips one bit in the middle of the features."""
    data = bytearray(path.read_bytes())
    data[data.find(b"\x28\xb5\x2f\xfd") + 40] ^= 1  # in the first compressed page
    path.write_bytes(data)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("top_k", [None, 3])
def test_rows_are_those_that_were_written(tmp_path, streaming, top_k):
    info = dataclasses.replace(INFO, top_k=top_k)
    rows = list(read_regions(write(tmp_path, info=info), streaming=streaming))
    names = ROWS[0].keys() - {"class_probs"}
    assert all(same(row, written, names=names) for row, written in zip(rows, ROWS, strict=True))
    best = [row["class_probs"].argmax(axis=1).tolist() for row in rows]
    assert best == [row["class_probs"].argmax(axis=1).tolist() for row in ROWS]


def test_any_row_slice_and_column_can_be_taken(tmp_path):
    dataset = read_regions(write(tmp_path))
    assert same(dataset[4], ROWS[4], names=["image_id", "features"])
    assert dataset[1:3]["boxes"][1].shape == (3, 4)
    assert dataset["image_id"][-1] == "6.png"
    assert dataset["class_probs"][2].shape == (3, 5)
    assert dataset.shuffle(seed=0).select(range(2))[0]["features"].dtype == np.float16


@pytest.mark.parametrize("streaming", [False, True])
def test_torch_rows_go_through_the_workers_of_a_loader(tmp_path, streaming):
    dataset = read_regions(write(tmp_path), streaming=streaming, output="torch")
    loader = DataLoader(dataset, batch_size=None, num_workers=2, multiprocessing_context="fork")
    rows = sorted(loader, key=lambda row: row["image_id"])
    assert [row["image_id"] for row in rows] == [row["image_id"] for row in ROWS]
    assert torch.equal(rows[2]["features"], torch.from_numpy(ROWS[2]["features"]))


def test_mapped_dataset_is_pickled_by_its_files(tmp_path):
    dataset = read_regions(write(tmp_path, [random_row(str(i), count=100, width=600) for i in range(3)], WIDE))
    assert len(pickle.dumps(dataset)) < dataset.data.nbytes / 10


WIDE = dataclasses.replace(INFO, feature_dim=600)


def test_copy_is_made_once_and_anew_for_a_new_shard(tmp_path, cache, monkeypatch):
    read_regions(write(tmp_path / "regions"))
    with monkeypatch.context() as patch:
        patch.setattr(region_reading, "read_batches", lambda path: pytest.fail("the shard is read again"))
        assert len(read_regions(tmp_path / "regions")) == 6
    write(tmp_path / "regions", [row | {"image_id": f"new{row['image_id']}"} for row in ROWS])
    assert read_regions(tmp_path / "regions")[0]["image_id"] == "new1.png"


def test_folders_of_one_detector_are_read_together(tmp_path):
    folders = [write(tmp_path / "a"), write(tmp_path / "b")]
    assert len(read_regions(folders)) == 12


@pytest.mark.parametrize(
    ("change", "row_change", "message"),
    [
        ({"model_hash": "xyz"}, {}, "model_hash is 'abc' in .*a.regions-00000.* and 'xyz' in .*b.regions-00000"),
        ({"feature_dim": 7}, {"width": 7}, "feature_dim is 6 in .*a.regions.* and 7 in .*b.regions"),
        ({"num_classes": 4}, {"classes": 4}, "num_classes is 5 in .* and 4 in"),
        ({"box_unit": "normalized"}, {"size": None}, "box_unit is 'pixels' in .* and 'normalized' in"),
    ],
)
def test_shards_that_do_not_belong_together_are_named(tmp_path, change, row_change, message):
    rows = [random_row("x", **row_change)] * 3
    folders = [write(tmp_path / "a"), write(tmp_path / "b", rows, dataclasses.replace(INFO, **change))]
    with pytest.raises(RegionShardError, match=message):
        read_regions(folders)


def cut(path):
    path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize("spoil", [cut, damage, lambda path: path.write_text("text"), lambda path: path.unlink()])
@pytest.mark.parametrize("streaming", [False, True])
def test_damaged_shard_is_an_error_with_its_name(tmp_path, spoil, streaming):
    spoil(shard_of(write(tmp_path), 1))
    with pytest.raises(RegionShardError, match="regions-00001-of-00003"):
        list(read_regions(tmp_path, streaming=streaming))


@pytest.mark.parametrize("spoil", [cut, damage, lambda path: path.write_text("text"), lambda path: path.unlink()])
@pytest.mark.parametrize("streaming", [False, True])
def test_damaged_shard_can_be_left_out(tmp_path, spoil, streaming, caplog):
    spoil(shard_of(write(tmp_path), 1))
    with caplog.at_level(logging.WARNING):
        rows = list(read_regions(tmp_path, streaming=streaming, on_bad_shard="skip"))
    assert [row["image_id"] for row in rows] == ["1.png", "2.png", "5.png", "6.png"]
    assert "regions-00001-of-00003" in caplog.text


def test_folder_without_a_whole_shard_is_an_error_either_way(tmp_path):
    cut(shard_of(write(tmp_path, shards=1), 0))
    with pytest.raises(RegionShardError, match="None of the 1 shards"):
        read_regions(tmp_path, on_bad_shard="skip")


def test_parquet_of_something_else_is_no_shard(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1]}), tmp_path / "regions-00000-of-00001.parquet")
    with pytest.raises(RegionShardError, match="broken shard"):
        read_regions(tmp_path)


def test_folder_without_shards_says_what_is_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match="extract-regions"):
        read_regions(tmp_path)


def test_information_of_a_folder_can_be_asked_for(tmp_path):
    assert read_region_info(write(tmp_path)) == INFO


@pytest.mark.parametrize("argument", [{"output": "jax"}, {"on_bad_shard": "ignore"}])
def test_unknown_choice_is_an_error(tmp_path, argument):
    with pytest.raises(ValueError, match=next(iter(argument))):
        read_regions(tmp_path, **argument)
