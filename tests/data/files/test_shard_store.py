import pytest
from wenlan.data.files.atomic import remove_unfinished
from wenlan.data.files.shard_store import ShardStore, reading_shard, split_into_shards
from wenlan.data.rows.report import BadRowError


class Numbers(ShardStore[int]):
    """A shard is a file with a number, which is its identity."""

    name, suffix = "numbers", ".txt"

    def read_identity(self, path):
        with reading_shard(path, "; remove it"):
            return int(path.read_text())


@pytest.fixture
def store(tmp_path):
    return Numbers(tmp_path, [5, 6, 7], {"kind": "numbers"})


def test_missing_damaged_and_other_shards_are_pending_and_the_last_two_logged(store, caplog):
    assert [path.name for path in store.paths()] == [f"numbers-{shard:05d}-of-00003.txt" for shard in range(3)]
    assert store.pending() == [0, 1, 2]
    assert not caplog.records
    for shard, content in enumerate(["5", "six", "8"]):
        store.path(shard).write_text(content)
    assert store.pending() == [1, 2]
    damaged, other = (record.getMessage() for record in caplog.records)
    assert "numbers-00001-of-00003.txt: ValueError" in damaged
    assert "numbers-00002-of-00003.txt holds 8 and not 7; it is made again" in other


def test_folder_of_other_settings_or_without_a_manifest_is_refused(store):
    with pytest.raises(ValueError, match="kind is 'numbers' there and 'letters' now"):
        Numbers(store.folder, [5], {"kind": "letters"})
    store.path(0).write_text("5")
    (store.folder / "manifest.json").unlink()
    with pytest.raises(ValueError, match="no manifest"):
        Numbers(store.folder, [5], {"kind": "numbers"})


def test_damage_is_one_kind_of_error_with_the_file_and_the_advice(tmp_path):
    with (
        pytest.raises(BadRowError, match=r"a\.txt: FileNotFoundError: .*; remove it") as caught,
        reading_shard(tmp_path / "a.txt", "; remove it"),
    ):
        (tmp_path / "a.txt").read_text()
    assert caught.value.cause == "broken shard"


def test_files_that_killed_runs_left_are_removed_and_nothing_else(store):
    store.path(0).write_text("5")
    (store.folder / ".saving-1-numbers-00001-of-00003.txt").write_text("half")
    remove_unfinished(store.folder)
    assert sorted(path.name for path in store.folder.iterdir()) == ["manifest.json", store.path(0).name]


def test_shards_without_inputs_are_refused():
    assert split_into_shards(0, 3) == []
    with pytest.raises(ValueError, match="must hold 1 or more"):
        split_into_shards(3, 0)
