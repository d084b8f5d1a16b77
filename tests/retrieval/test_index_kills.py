"""Commands that are killed: no acknowledged row is lost, none is there twice, and the index opens each time."""

import pytest
from helpers.brivl.tiny_folder import save_tiny_folder
from helpers.index_folders import check_index, ids_of, write_images
from helpers.index_kills import IndexKills
from wenlan.retrieval.build import BuildOptions, build_index
from wenlan.retrieval.maintenance import remove_rows

SMALL = ["--batch-size", "2", "--shard-size", "2", "--num-proc", "1"]


@pytest.mark.slow
def test_killed_commands_lose_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_tiny_folder(tmp_path / "model")
    write_images(tmp_path / "photos", 30)
    write_images(tmp_path / "more", 20, start=100)
    index, log = tmp_path / "index", tmp_path / "log.txt"
    kills = IndexKills(index)
    build = ["index", "build", "photos", "--model", "model", "--output", "index", *SMALL]
    assert [kills.kill(build, log=log, shards=more) for more in (2, 4)] == [True, True]
    build_index(tmp_path / "photos", index, options=BuildOptions(num_proc=1))
    assert ids_of(index) == [f"photos/{number:03}.png" for number in range(30)]
    add = ["index", "add", "index", "more", *SMALL]
    assert [kills.kill(add, log=log, shards=more) for more in (1, 3)] == [True, True]
    build_index(tmp_path / "more", index, options=BuildOptions(num_proc=1))
    remove_rows(index, where="path like 'photos/00%'")
    expected = check_index(index)
    assert len(expected) == 40
    for more in (0, 2):
        kills.kill(["index", "compact", "index", "--max-rows", "3"], log=log, shards=more)
        assert check_index(index) == expected
