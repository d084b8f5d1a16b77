import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.paths import ENVIRONMENT
from wenlan.data.files.lock import LOCK, output_lock

HOLD = "import sys, time, pathlib; from wenlan.data.files.lock import output_lock\n"
HOLD += "with output_lock(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(100)"


def hold(folder):
    process = subprocess.Popen([sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE, env=ENVIRONMENT)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_folder_is_made_and_free_again_after_the_block(tmp_path):
    folder = tmp_path / "new" / "out"
    with output_lock(folder):
        assert (folder / LOCK).exists()
        (folder / "a").touch()
    assert [path.name for path in folder.iterdir()] == ["a"]


def test_second_process_is_refused_and_told_who_writes(tmp_path):
    process = hold(tmp_path)
    try:
        expected = rf"Process {process.pid} on {os.uname().nodename}.*{LOCK}"
        with pytest.raises(ValueError, match=expected), output_lock(tmp_path):
            pass
    finally:
        process.kill()
        process.wait()


def test_second_lock_of_the_same_process_is_refused(tmp_path):
    with output_lock(tmp_path), pytest.raises(ValueError, match="is writing into"), output_lock(tmp_path):
        pass


def test_lock_of_a_killed_process_is_taken_over(tmp_path):
    process = hold(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (tmp_path / LOCK).exists()
    with output_lock(tmp_path):
        assert (tmp_path / LOCK).read_text().split()[0] == str(os.getpid())


def test_a_forked_worker_that_ends_leaves_the_lock(tmp_path):
    with output_lock(tmp_path):
        worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(0,))
        worker.start()
        worker.join()
        assert (tmp_path / LOCK).exists()


def test_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file is no folder"), output_lock(tmp_path / "file"):
        pass


def test_folder_that_cannot_be_written_into_is_named(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file" / "out", Path("/sys/kernel"), Path("/sys/wenlan")):
        with pytest.raises(OSError, match=f"{folder} cannot be written into: .*Give another"), output_lock(folder):
            pass


def test_new_folder_stays_only_if_something_was_written(tmp_path):
    with pytest.raises(KeyError), output_lock(tmp_path / "new" / "inner"):
        raise KeyError
    assert not (tmp_path / "new" / "inner").exists()
    with output_lock(tmp_path / "new"):  # was there
        pass
    with output_lock(tmp_path / "other"):
        (tmp_path / "other" / "a").touch()
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["new", "other", "a"]
