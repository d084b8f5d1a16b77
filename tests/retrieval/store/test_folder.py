import os
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from wenlan.data.files.lock import output_lock
from wenlan.retrieval.store.folder import DamagedShardError, IndexFolder
from wenlan.retrieval.store.manifest import EmbeddedBy, IndexManifest

DIM = 4


def begin(folder):
    made_by = EmbeddedBy("runs/quickstart", "a" * 16, "b" * 16)
    return IndexFolder(folder, IndexManifest.begin(kind="images", embedded_by=made_by, dim=DIM, base=".."))


def rows(names, seed=0, **columns):
    values = np.random.default_rng(seed).normal(size=(len(names), DIM)).astype(np.float16)
    made = {
        "id": pa.array(names, pa.string()),
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), DIM),
        "path": pa.array(names, pa.string()),
        "size": pa.array([1] * len(names), pa.int64()),
        "modified": pa.array([2] * len(names), pa.int64()),
    }
    return pa.table(made | {name: pa.array(values) for name, values in columns.items()})


@pytest.fixture
def index(tmp_path):
    folder = begin(tmp_path / "index")
    with folder.writing():
        folder.append(rows(["a", "b", "c"]))
        folder.append(rows(["d", "e"], seed=1))
    return folder


def ids(folder):
    return folder.read(["id"])["id"].to_pylist()


def test_rows_come_back_as_they_were_written_with_keys_that_grow(index):
    opened = IndexFolder.open(index.folder)
    table = opened.read()
    assert table["id"].to_pylist() == list("abcde")
    assert table["key"].to_pylist() == [0, 1, 2, 3, 4]
    assert table["embedding"].slice(0, 3).to_pylist() == rows(["a", "b", "c"])["embedding"].to_pylist()
    assert opened.manifest.rows == 5
    assert opened.read(["id"], first_key=3)["id"].to_pylist() == ["d", "e"]


def test_removed_and_replaced_rows_are_gone_and_their_keys_are_never_given_again(index):
    with index.writing():
        assert index.remove([1, 1, 99]) == 1
        assert index.remove([1]) == 0
        index.append(rows(["a"], seed=5), replaced=[0])
    assert ids(index) == ["c", "d", "e", "a"]
    assert index.manifest.rows == 4
    assert index.read(["key"])["key"].to_pylist() == [2, 3, 4, 5]
    assert (index.manifest.removals, index.removed_keys().tolist()) == (2, [1, 0])


def test_compaction_keeps_rows_and_keys_and_frees_the_files(index):
    with index.writing():
        index.remove([1])
        before = index.read()
        index.compact(max_rows=3)
    assert index.read().equals(before)
    assert [entry.rows for entry in index.manifest.shards] == [3, 1]
    assert sorted(path.name for path in (index.folder / "shards").iterdir()) == sorted(
        entry.file for entry in index.manifest.shards
    )
    with index.writing():
        index.append(rows(["f"]))
    assert index.read(["key"])["key"].to_pylist() == [0, 2, 3, 4, 5]


def test_compaction_of_nothing_leaves_an_empty_index(index):
    with index.writing():
        index.remove(range(5))
        index.compact()
    assert IndexFolder.open(index.folder).read().num_rows == 0
    assert not index.manifest.shards


def test_a_column_that_comes_later_is_null_in_older_rows(index):
    with index.writing():
        index.append(rows(["f"], year=[2024], tag=["猫"]))
        index.compact()
    assert index.read(["id", "year"]).to_pylist()[-2:] == [{"id": "e", "year": None}, {"id": "f", "year": 2024}]
    with index.writing(), pytest.raises(ValueError, match=r"'year' holds string here and int64 in the index"):
        index.append(rows(["g"], year=["2024"]))
    assert len(ids(index)) == 6


def test_second_writer_is_told_who_writes(index):
    message = rf"Process {os.getpid()} .*writing"
    with output_lock(index.folder), pytest.raises(ValueError, match=message), index.writing():
        pass


def test_what_a_killed_writer_left_is_taken_away_by_the_next(index):
    (index.folder / "shards" / "rows-0.parquet").write_bytes(b"half")
    (index.folder / "shards" / ".saving-1@elsewhere-rows-1.parquet").write_bytes(b"half")
    assert ids(IndexFolder.open(index.folder)) == list("abcde")
    with index.writing():
        pass
    assert len(list((index.folder / "shards").iterdir())) == 2


def test_full_disk_leaves_the_old_state(index, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    before = (index.folder / "manifest.json").read_bytes()
    monkeypatch.setattr("wenlan.retrieval.store.folder.pq.write_table", full)
    with index.writing(), pytest.raises(OSError, match=r"No space left on device.*rows-"):
        index.append(rows(["f"]))
    assert (index.folder / "manifest.json").read_bytes() == before
    assert ids(IndexFolder.open(index.folder)) == list("abcde")


def damage(folder, place=1):
    path = folder.path(folder.manifest.shards[place])
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 255
    path.write_bytes(data)
    return path


def test_damaged_shard_is_named_and_the_rest_can_be_used(index):
    path = damage(index)
    with pytest.raises(DamagedShardError, match=rf"{re.escape(str(path))}.*2 rows.*--skip-damaged"):
        index.read()
    assert index.find_damaged() == []
    assert index.find_damaged(whole=True) == [index.manifest.shards[1]]
    opened = IndexFolder.open(index.folder, skip_damaged=True)
    assert ids(opened) == list("abc")
    assert opened.damaged == (path.name,)
    with opened.writing():
        opened.compact()
    assert ids(IndexFolder.open(index.folder)) == list("abc")
    assert IndexFolder.open(index.folder).manifest.rows == 3


def test_missing_and_shortened_shards_are_seen_when_the_folder_is_opened(index):
    path = index.path(index.manifest.shards[0])
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DamagedShardError, match=r"cut short"):
        IndexFolder.open(index.folder).check_files()
    path.unlink()
    with pytest.raises(DamagedShardError, match=r"missing"):
        IndexFolder.open(index.folder).check_files()
    opened = IndexFolder.open(index.folder, skip_damaged=True)
    opened.check_files()
    assert ids(opened) == ["d", "e"]


def test_damaged_tombstones_are_never_skipped_since_what_was_removed_would_come_back(index):
    with index.writing():
        index.remove([1])
    index.path(index.manifest.tombstones[0]).unlink()
    with pytest.raises(DamagedShardError, match=r"Tombstone .*copy"):
        ids(IndexFolder.open(index.folder, skip_damaged=True))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": 2}',
        '{"format": 1, "kind": "images", "embedded_by": {}, "shards": [], "tombstones": []}',
    ],
)
def test_corrupt_manifest_is_named(index, text):
    (index.folder / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=r"manifest\.json"):
        IndexFolder.open(index.folder)


def test_manifest_names_no_file_outside_of_its_folder(index):
    path = index.folder / "manifest.json"
    path.write_text(path.read_text().replace(index.manifest.shards[0].file, "../../secret.parquet"))
    with pytest.raises(ValueError, match=r"no manifest of an index .*secret"):
        IndexFolder.open(index.folder)


def test_folder_without_an_index_is_named_with_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"wenlan index build"):
        IndexFolder.open(tmp_path)


def test_another_model_is_refused_with_both_hashes(index):
    made_by = index.manifest.embedded_by
    index.check_model(made_by)
    with pytest.raises(ValueError, match=r"runs/quickstart with the hash a{16}; runs/other has c{16}"):
        index.check_model(replace(made_by, model="runs/other", model_hash="c" * 16))


def test_state_is_read_anew_by_a_writer(index):
    other = IndexFolder.open(index.folder)
    with other.writing():
        other.append(rows(["f"]))
    with index.writing():
        index.append(rows(["g"]))
    assert ids(IndexFolder.open(index.folder)) == list("abcdefg")
