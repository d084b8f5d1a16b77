import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.brivl.tiny_folder import SENTENCES, save_tiny_folder
from helpers.index_folders import check_index, ids_of, write_images
from PIL import Image
from transformers import AutoProcessor
from wenlan.data import TooManyBadRowsError
from wenlan.modeling_brivl import BriVLModel
from wenlan.pipelines import embed_images, embed_texts
from wenlan.retrieval.build import BuildOptions, build_index
from wenlan.retrieval.maintenance import compact_index, describe_index, remove_rows
from wenlan.retrieval.store.folder import IndexFolder

OPTIONS = BuildOptions(batch_size=4, shard_size=4, num_proc=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_tiny_folder(folder)
    return str(folder)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with images in `photos`."""
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "photos")
    return tmp_path


@pytest.fixture
def index(model, place):
    build_index(Path("photos"), Path("index"), model=model, options=OPTIONS)
    return Path("index")


def modified(folder):
    return {path.name: path.stat().st_mtime_ns for path in (folder / "shards").iterdir()}


def test_folder_of_images_becomes_rows_with_their_embeddings_paths_sizes_and_times(model, index):
    rows = IndexFolder.open(index).read()
    assert rows["id"].to_pylist() == [f"photos/{number:03}.png" for number in range(6)]
    assert rows["path"].to_pylist() == rows["id"].to_pylist()
    paths = [Path(path) for path in rows["path"].to_pylist()]
    assert rows["size"].to_pylist() == [path.stat().st_size for path in paths]
    assert rows["modified"].to_pylist() == [path.stat().st_mtime_ns for path in paths]
    opened = BriVLModel.from_pretrained(model).eval(), AutoProcessor.from_pretrained(model)
    expected = embed_images(*opened, paths).half().float()
    found = torch.tensor(np.array(rows["embedding"].to_pylist(), np.float32))
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)  # 16 bit
    assert len(IndexFolder.open(index).manifest.shards) == 2
    check_index(index)


def test_what_is_there_unchanged_is_not_embedded_again(index):
    before = modified(index)
    assert build_index(Path("photos"), index, options=OPTIONS).rows_kept == 6
    assert modified(index) == before
    write_images(Path("more"), 1, start=50)
    assert build_index(Path("more"), index, options=OPTIONS).rows_kept == 1
    assert before.items() < modified(index).items()
    assert len(modified(index)) == len(before) + 1
    assert check_index(index)[-1] == "more/050.png"


def test_image_that_was_changed_is_embedded_again_and_counts_once(index):
    before = IndexFolder.open(index).read(["id", "embedding"]).to_pylist()
    Image.new("RGB", (9, 9), "red").save("photos/002.png")
    build_index(Path("photos"), index, options=OPTIONS)
    after = {row["id"]: row["embedding"] for row in IndexFolder.open(index).read(["id", "embedding"]).to_pylist()}
    assert [row["id"] for row in before if after[row["id"]] != row["embedding"]] == ["photos/002.png"]
    assert sorted(check_index(index)) == sorted(after)
    assert len(after) == 6


def test_image_that_can_no_longer_be_read_leaves_the_index_and_is_counted(index):
    Path("photos/002.png").write_bytes(b"no image")
    report = build_index(Path("photos"), index, options=BuildOptions(max_bad_fraction=0.5, num_proc=1))
    assert (report.rows_kept, report.counts) == (5, {"not an image": 1})
    assert "photos/002.png" not in check_index(index)


def test_image_that_was_replaced_while_it_was_embedded_is_told_and_embedded_by_the_next_run(model, place, monkeypatch):
    from wenlan.retrieval import build

    run = build.run_tasks

    def replace_and_run(open_worker, tasks, **options):
        Image.new("RGB", (9, 9), "red").save("photos/001.png")
        return run(open_worker, tasks, **options)

    with monkeypatch.context() as patched:
        patched.setattr(build, "run_tasks", replace_and_run)
        report = build_index(Path("photos"), Path("index"), model=model, options=OPTIONS)
    assert report.repairs == {"image replaced": 1}
    keys = IndexFolder.open(Path("index")).manifest.next_key
    build_index(Path("photos"), Path("index"), options=OPTIONS)
    assert IndexFolder.open(Path("index")).manifest.next_key == keys + 1
    assert len(check_index(Path("index"))) == 6


@pytest.mark.slow
def test_several_processes_make_the_same_rows(model, index):
    build_index(
        Path("photos"), Path("other"), model=model, options=BuildOptions(batch_size=4, shard_size=4, num_proc=2)
    )
    rows = [IndexFolder.open(folder).read(["id", "embedding", "size"]).to_pylist() for folder in (index, Path("other"))]
    assert sorted(rows[0], key=lambda row: row["id"]) == sorted(rows[1], key=lambda row: row["id"])
    check_index(Path("other"))


def test_rows_are_removed_by_condition_id_and_missing_image(index):
    write_images(Path("more_photos"), 2)
    build_index(Path("more_photos"), index, options=OPTIONS)
    assert remove_rows(index, where="path like 'more_photos/%'") == (2, 6)
    assert remove_rows(index, ids=["photos/001.png"]) == (1, 5)
    Path("photos/002.png").unlink()
    assert build_index(Path("photos"), index, options=OPTIONS).rows_kept == 5  # 001 is new again, 002 stays
    assert remove_rows(index, missing=True) == (1, 5)
    assert "photos/002.png" not in check_index(index)
    for conditions, message in (
        ({}, "--where, --id or --missing"),
        ({"where": "colour = 'red'"}, "colour"),
        ({"ids": ["nothing"]}, "'nothing'"),
    ):
        with pytest.raises(ValueError, match=message):
            remove_rows(index, **conditions)


def test_compaction_changes_nothing_that_is_found(index):
    remove_rows(index, ids=["photos/001.png"])
    before = check_index(index)
    assert compact_index(index) == (2, 1)
    assert check_index(index) == before
    shutil.rmtree(index / "faiss")
    assert check_index(index) == before
    assert describe_index(index)["removed rows in shards"] == 0


def test_columns_of_a_table_are_joined_by_id_or_path_and_taken_up_when_they_change(model, place):
    Path("tags.csv").write_text(
        "path,year,tag\nphotos/000.png,2023,猫\nphotos/001.png,2024,狗\nnowhere.png,1,x\n", "utf-8"
    )
    options = {"model": model, "options": OPTIONS, "metadata": Path("tags.csv")}
    report = build_index(Path("photos"), Path("index"), **options)
    assert report.repairs == {"metadata without image": 1}

    def columns():
        rows = IndexFolder.open(Path("index")).read(["id", "year", "tag"]).to_pylist()
        return {row["id"][-7:-4]: (row["year"], row["tag"]) for row in rows}

    assert columns() == {"000": (2023, "猫"), "001": (2024, "狗")} | {f"00{n}": (None, None) for n in range(2, 6)}
    Path("tags.csv").write_text("path,year,tag\nphotos/001.png,2025,狗\n", "utf-8")
    before = modified(Path("index"))
    build_index(Path("photos"), Path("index"), **options)
    assert columns()["000"] == (2023, "猫")
    assert columns()["001"] == (2025, "狗")
    assert before.items() < modified(Path("index")).items()
    assert len(check_index(Path("index"))) == 6


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "name,year\na,1\n", r"none of the columns id, path"),
        ("t.csv", "id,year\na,1\na,2\n", r"two rows of the image 'a'"),
        ("t.csv", "id,embedding\na,1\n", r"'embedding', which the index has itself"),
        ("t.jsonl", '{"id": "a", "tags": ["x"]}\n', r"'tags' of list"),
        ("t.jsonl", "{", r"cannot be read"),
        ("t.xlsx", "x", r"no table; give one of .csv"),
    ],
)
def test_tables_that_do_not_fit_are_refused_before_anything_is_embedded(model, place, name, text, message):
    Path(name).write_text(text, "utf-8")
    with pytest.raises(ValueError, match=message):
        build_index(Path("photos"), Path("index"), model=model, metadata=Path(name), options=OPTIONS)
    assert not Path("index").exists()


def test_sentences_are_indexed_each_once(model, place):
    Path("s.txt").write_text("\n".join([*SENTENCES, SENTENCES[0], "\u200b"]), "utf-8")
    report = build_index(Path("s.txt"), Path("index"), model=model, texts=True, options=OPTIONS)
    assert (report.rows_kept, report.counts) == (len(SENTENCES), {"empty text": 1})
    rows = IndexFolder.open(Path("index")).read()
    assert rows["text"].to_pylist() == rows["id"].to_pylist() == SENTENCES
    opened = BriVLModel.from_pretrained(model).eval(), AutoProcessor.from_pretrained(model)
    expected = embed_texts(*opened, SENTENCES).numpy()
    np.testing.assert_allclose(np.array(rows["embedding"].to_pylist()), expected, atol=2e-3)
    with pytest.raises(ValueError, match=r"index of texts; put the images of photos into another"):
        build_index(Path("photos"), Path("index"), options=OPTIONS)
    check_index(Path("index"))


def test_list_with_ids_of_its_own_is_taken_and_another_image_of_the_same_id_is_refused(model, place):
    def write_list(file, *paths):
        Path(file).write_text(
            "".join(json.dumps({"id": f"n{n}", "image": path}) + "\n" for n, path in enumerate(paths))
        )
        return Path(file)

    first = write_list("a.jsonl", "photos/000.png", "photos/001.png")
    build_index(first, Path("index"), model=model, options=OPTIONS)
    assert ids_of(Path("index")) == ["n0", "n1"]
    options = BuildOptions(num_proc=1, max_bad_fraction=1)
    report = build_index(write_list("b.jsonl", "photos/000.png", "photos/005.png"), Path("index"), options=options)
    assert (report.rows_kept, report.counts) == (1, {"duplicate image": 1})
    os.rename("photos/001.png", "photos/moved.png")
    report = build_index(write_list("c.jsonl", "photos/000.png", "photos/moved.png"), Path("index"), options=OPTIONS)
    assert report.rows_kept == 2
    assert IndexFolder.open(Path("index")).read(["path"])["path"].to_pylist() == ["photos/000.png", "photos/moved.png"]


def test_nothing_that_can_be_embedded_is_an_error_that_counts_by_cause_and_leaves_nothing(model, place):
    shutil.rmtree("photos")
    Path("photos").mkdir()
    with pytest.raises(ValueError, match="lists no image"):
        build_index(Path("photos"), Path("index"), model=model, options=OPTIONS)
    Path("photos/a.png").write_bytes(b"")
    Path("photos/b.png").write_bytes(b"no image")
    with pytest.raises(TooManyBadRowsError, match=r"(?s)Nothing in photos.*1 x empty file.*1 x not an image"):
        build_index(Path("photos"), Path("index"), model=model, options=OPTIONS)
    assert not Path("index").exists()


def test_too_many_bad_images_are_an_error_after_the_good_ones_are_in_the_index(model, place):
    for number in range(3):
        Path(f"photos/bad{number}.png").write_bytes(b"no image")
    with pytest.raises(TooManyBadRowsError, match=r"3 x not an image"):
        build_index(Path("photos"), Path("index"), model=model, options=OPTIONS)
    assert len(check_index(Path("index"))) == 6


def test_model_is_needed_first_and_must_then_stay_the_same(model, place, tmp_path):
    with pytest.raises(ValueError, match=r"no index in index yet; say which --model"):
        build_index(Path("photos"), Path("index"), options=OPTIONS)
    build_index(Path("photos"), Path("index"), model=model, options=OPTIONS)
    other = save_tiny_folder(tmp_path / "other")
    with torch.no_grad():
        next(other.parameters()).add_(0.1)
    other.save_pretrained(tmp_path / "other")
    made_by = IndexFolder.open(Path("index")).manifest.embedded_by
    with pytest.raises(ValueError, match=rf"{made_by.model_hash}; .*other has [0-9a-f]{{16}}"):
        build_index(Path("photos"), Path("index"), model=str(tmp_path / "other"), options=OPTIONS)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        build_index(Path("photos"), Path("new"), model="runs/nowhere", options=OPTIONS)
    with pytest.raises(FileNotFoundError, match="no-photos"):
        build_index(Path("no-photos"), Path("new"), model=model, options=OPTIONS)
    assert not Path("new").exists()


def test_folder_that_cannot_be_written_is_named_and_left_as_it_is(index, monkeypatch):
    def refuse(*_, **__):  # root may write anywhere
        raise PermissionError(13, "Read-only file system")

    write_images(Path("photos"), 1, start=90)
    before = ids_of(index)
    monkeypatch.setattr("wenlan.data.files.lock.SoftFileLock.acquire", refuse)
    for change in (lambda: build_index(Path("photos"), index, options=OPTIONS), lambda: compact_index(index)):
        with pytest.raises(OSError, match="index cannot be written into: Read-only"):
            change()
    assert ids_of(index) == before


def test_folder_that_moves_with_its_images_still_finds_them(index, place, monkeypatch):
    moved = place.with_name("moved")
    os.rename(place, moved)
    monkeypatch.chdir(moved)
    assert build_index(Path("photos"), Path("index"), options=OPTIONS).rows_kept == 6
    folder = IndexFolder.open(Path("index"))
    assert folder.manifest.next_key == 6
    assert (folder.base / folder.read(["path"])["path"][0].as_py()).is_file()
    monkeypatch.chdir(moved / "photos")
    assert build_index(Path("."), moved / "index", options=OPTIONS).rows_kept == 6
    assert IndexFolder.open(moved / "index").manifest.next_key == 6
