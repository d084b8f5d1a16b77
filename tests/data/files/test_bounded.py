import os

import pytest
from wenlan.data.files.bounded import check_regular, read_bounded


def test_file_up_to_the_limit_is_read(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 10)
    assert read_bounded(tmp_path / "a", max_bytes=10) == b"x" * 10


def test_larger_file_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "sparse.png").open("wb") as file:
        file.truncate(6 * 2**30)
    with pytest.raises(ValueError, match="6,442,450,944 bytes, above the limit of 1,000"):
        read_bounded(tmp_path / "sparse.png", max_bytes=1000)


def test_pipe_device_and_folder_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for path, kind in ((tmp_path / "pipe.png", "pipe"), (tmp_path / "zero.png", "device"), (tmp_path, "folder")):
        with pytest.raises(ValueError, match=f"no regular file but a {kind}"):
            check_regular(path)


def test_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_bounded(tmp_path / "none", max_bytes=1)
