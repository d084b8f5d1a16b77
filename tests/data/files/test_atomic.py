import os
import resource
import stat
import subprocess
import sys

import pytest
import torch
from helpers.paths import ENVIRONMENT
from safetensors.torch import save_file
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


def test_pipes_folders_and_links_to_them_are_not_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name, found in {"folder": "a folder", "pipe": "a pipe", "link": "a pipe"}.items():
        with pytest.raises(ValueError, match=f"{name} is no regular file but {found}"):
            write_file(tmp_path / name, "new")
    assert stat.S_ISFIFO((tmp_path / "link").stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "link", "pipe"]


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


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
def test_files_have_the_mode_of_the_umask_even_if_written_for_the_owner_alone(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with atomic_files(tmp_path / "model") as folder:
            save_file({"weight": torch.ones(2)}, folder / "model.safetensors")  # safetensors makes them 0600
            (folder / "inner").mkdir()
            (folder / "inner" / "secret").touch(0o600)
        with atomic_file(tmp_path / "table.parquet") as unfinished:
            unfinished.touch(0o600)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()}
    assert modes == dict.fromkeys(["model.safetensors", "secret", "table.parquet"], mode)


WRITE = """import pathlib, sys, time
from wenlan.data.files.atomic import atomic_file, atomic_files
folder = pathlib.Path(sys.argv[1])
with atomic_file(folder / "a.txt") as unfinished, atomic_files(folder) as files:
    unfinished.touch()
    (files / "b.txt").touch()
    print("written", flush=True)
    time.sleep(100)
"""


def start_writing(folder):
    process = subprocess.Popen([sys.executable, "-c", WRITE, folder], stdout=subprocess.PIPE, env=ENVIRONMENT)
    assert process.stdout is not None
    assert process.stdout.readline() == b"written\n"
    return process


def test_what_a_killed_process_left_is_removed_and_what_others_write_stays(tmp_path):
    killed, alive = start_writing(tmp_path), start_writing(tmp_path)
    killed.kill()
    killed.wait()
    elsewhere = tmp_path / f".saving-{killed.pid}@another_machine-a.txt"
    elsewhere.touch()
    write_file(tmp_path / "c.txt", "new")
    alive_files = [path.name for path in tmp_path.glob(".saving-*")]
    alive.kill()
    alive.wait()
    assert sorted(name.split("@")[0] for name in alive_files) == sorted(
        [f".saving-{alive.pid}"] * 2 + [elsewhere.name.split("@")[0]]
    )
    assert elsewhere.exists()


def test_error_of_a_full_disk_names_the_file(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: .*a\.txt"):
            write_file(tmp_path / "a.txt", "x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(tmp_path) == []
