import pytest
from wenlan.data import atomic_file
from wenlan.data.files.atomic import atomic_files


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def write_file(path, text, *, fails=False):
    with atomic_file(path) as unfinished:
        unfinished.write_text(text, "utf-8")
        if fails:
            raise ValueError("stop")


def write_files(folder, texts, *, fails=False):
    with atomic_files(folder) as unfinished:
        for name, text in texts.items():
            (unfinished / name).parent.mkdir(exist_ok=True)
            (unfinished / name).write_text(text, "utf-8")
        if fails:
            raise ValueError("stop")


def test_file_appears_under_its_name_only_when_the_block_has_ended(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic_file(path) as unfinished:
        unfinished.write_text("ab", "utf-8")
        assert not path.exists()
    assert path.read_text("utf-8") == "ab"
    assert names(tmp_path) == ["new/a.txt"]


def test_failed_block_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old", "utf-8")
    with pytest.raises(ValueError, match="stop"):
        write_file(path, "half", fails=True)
    assert path.read_text("utf-8") == "old"
    assert names(tmp_path) == ["a.txt"]


def test_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "a.txt"):
        pass


def test_temporary_name_is_hidden_and_keeps_the_suffix(tmp_path):
    with atomic_file(tmp_path / "a.png") as unfinished:
        assert unfinished.name.startswith(".saving-")
        assert unfinished.suffix == ".png"
        unfinished.touch()


def test_files_replace_those_of_their_name_and_leave_the_others(tmp_path):
    for name in ("model.bin", "notes.txt"):
        (tmp_path / name).write_text("old", "utf-8")
    write_files(tmp_path, {"model.bin": "new", "inner/x": "new"})
    assert names(tmp_path) == ["inner/x", "model.bin", "notes.txt"]
    assert (tmp_path / "model.bin").read_text("utf-8") == "new"
    assert (tmp_path / "notes.txt").read_text("utf-8") == "old"


def test_failed_block_leaves_all_old_files(tmp_path):
    (tmp_path / "config.json").write_text("old", "utf-8")
    with pytest.raises(ValueError, match="stop"):
        write_files(tmp_path, {"config.json": "new"}, fails=True)
    assert names(tmp_path) == ["config.json"]
    assert (tmp_path / "config.json").read_text("utf-8") == "old"


def test_failed_block_leaves_no_new_folder(tmp_path):
    with pytest.raises(ValueError, match="stop"):
        write_files(tmp_path / "model", {"model.bin": "new"}, fails=True)
    assert not (tmp_path / "model").exists()


def test_interrupted_move_leaves_a_folder_without_its_config(tmp_path):
    """A folder that holds something under the name of a file cannot be replaced: the move breaks off in the middle."""
    (tmp_path / "config.json").write_text("old", "utf-8")
    (tmp_path / "model.bin" / "inner").mkdir(parents=True)
    with pytest.raises(OSError, match=r"model\.bin"):
        write_files(tmp_path, {"config.json": "new", "model.bin": "new", "a.json": "new"})
    assert names(tmp_path) == ["a.json"]
