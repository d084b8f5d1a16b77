import json
import os
import signal
from pathlib import Path

import pytest
from helpers.brivl.tiny_folder import save_tiny_folder
from helpers.index_folders import ids_of, write_images
from helpers.stopped_command import StoppedCommand
from PIL import Image
from typer.testing import CliRunner
from wenlan.data.files.lock import output_lock

from wenlan.cli.main import app


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A working folder with an index of `photos`, and what the command printed."""
    folder = tmp_path_factory.mktemp("made")
    save_tiny_folder(folder / "model")
    write_images(folder / "photos")
    os.chdir(folder)
    return folder, run("index", "build", "photos", "--model", "model", "--output", "index", "--num-proc", "1")


@pytest.fixture
def index(made, monkeypatch):
    monkeypatch.chdir(made[0])
    return Path("index")


def run(*words, code=0):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result.output


def test_build_says_how_many_rows_there_are_and_what_comes_next(made):
    assert "photos: kept 6 of 6 rows" in made[1]
    assert "Search it: wenlan search index --text 猫" in made[1]


def test_table_has_a_row_a_hit_best_first(index):
    output = run("search", index, "--text", "猫", "-k", "3")
    lines = [line for line in output.splitlines() if "photos/" in line]
    assert [line.split("│")[1].strip() for line in lines] == ["1", "2", "3"]
    scores = [float(line.split("│")[3]) for line in lines]
    assert scores == sorted(scores, reverse=True)


def test_json_is_all_that_is_printed_and_holds_the_hits(index):
    result = CliRunner().invoke(app, ["search", str(index), "--image", "photos/004.png", "-k", "2", "--json"])
    found = json.loads(result.stdout)
    assert [list(row) for row in found] == [["id", "score", "path", "size", "modified"]] * 2
    assert found[0]["id"] == "photos/004.png"


def test_picture_shows_the_hits_and_missing_images_by_name(index, tmp_path):
    for name in ("hits.png", "hits.jpg"):
        run("search", index, "--text", "猫\U0001f9ff", "-k", "99", "--picture", tmp_path / name)
    with Image.open(tmp_path / "hits.png") as drawn:
        assert drawn.width > 600
        assert len(drawn.convert("RGB").getcolors(1 << 24)) > 1000
    run("search", index, "--image", "photos/004.png", "--picture", tmp_path / "like.png")
    os.rename("photos", "gone")
    try:
        run("search", index, "--text", "猫", "--picture", tmp_path / "gone.png")
    finally:
        os.rename("gone", "photos")
    with Image.open(tmp_path / "gone.png") as drawn:
        assert len(drawn.convert("L").getcolors(1 << 16)) < 257


def test_condition_that_nothing_meets_is_said(index):
    assert "No row of the index meets --where" in run("search", index, "--text", "猫", "--where", "size > 1000000")


def test_rows_are_added_removed_compacted_and_described(index):
    write_images(Path("more_photos"), 2, start=50)
    assert "kept 2 of 2 rows" in run("index", "add", index, "more_photos")
    assert "2 rows removed, 6 are left in index" in run(
        "index", "remove", index, "--where", "path like 'more_photos/%'"
    )
    assert "2 shards became 1 in index" in run("index", "compact", index)
    found = json.loads(run("index", "info", index, "--json"))
    assert (found["rows"], found["shards"], found["model"], found["damaged"]) == (6, 1, "model", [])
    assert "model_hash" in run("index", "info", index)


def test_damaged_shard_is_told_by_info(index, tmp_path):
    path = next(Path("index/shards").glob("rows-*"))
    data = path.read_bytes()
    path.write_bytes(data[:99] + bytes([data[99] ^ 255]) + data[100:])
    try:
        assert path.name in run("index", "info", index, "--verify", code=1)
    finally:
        path.write_bytes(data)
    assert run("index", "info", index, "--verify")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search", "index"], "either a text or an image"),
        (["search", "index", "--text", "猫", "-k", "0"], "k is 0"),
        (["search", "nowhere", "--text", "猫"], "wenlan index build"),
        (["search", "index", "--image", "nowhere.png"], "nowhere.png"),
        (["search", "index", "--text", "猫", "--where", "colour = 'red'"], "colour"),
        (["search", "index", "--text", "猫", "--picture", "hits.txt"], "end it in .png or .jpg"),
        (["search", "index", "--image", "photos/000.png", "--picture", "photos/000.png"], "would be replaced"),
        (["index", "add", "nowhere", "photos"], "wenlan index build"),
        (["index", "remove", "index"], "--where, --id or --missing"),
        (["index", "build", "s.txt", "--texts", "--regions", "x", "--output", "new"], "Sentences have no regions"),
        (["index", "build", "photos", "--output", "photos/000.png", "--model", "model"], "photos/000.png"),
        (["index", "build", "photos", "--output", "new", "--model", "model", "--backend", "lucene"], "faiss, milvus"),
        (["index", "build", "photos", "--output", "new", "--model", "model", "--backend", "milvus"], "--uri"),
    ],
)
def test_mistakes_end_in_one_line_that_says_what_to_do(index, words, message):
    output = run(*words, code=1)
    assert message in output
    assert "Traceback" not in output
    assert not Path("new").exists()


def test_second_writer_is_told_of_the_first(index):
    with output_lock(index):
        assert f"Process {os.getpid()}" in run("index", "add", index, "photos", code=1)


@pytest.mark.slow
def test_interrupted_build_says_how_to_resume_and_does(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "photos", 30)
    words = ["index", "build", "photos", "--model", made[0] / "model", "--output", "index", "--num-proc", "1"]
    small = ["--batch-size", "2", "--shard-size", "2"]
    command = StoppedCommand([*words, *small], lambda: [*Path("index/shards").glob("rows-*.parquet")])
    assert command.stop(tmp_path / "log.txt", signal.SIGINT, 3) == 130
    assert "To resume: wenlan index build photos" in (tmp_path / "log.txt").read_text()
    done = len(ids_of(Path("index")))
    assert 4 <= done < 30
    assert "kept 30 of 30 rows" in run(*words)
    assert len(set(ids_of(Path("index")))) == 30
