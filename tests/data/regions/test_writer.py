import dataclasses
import json
import os

import pyarrow.parquet as pq
import pytest
from helpers.regions.rows import INFO, random_row, same
from wenlan.data import RegionShardError, TooManyBadRowsError, read_regions
from wenlan.data.regions.shards import SHARD_KEY, SkippedInput, read_batches
from wenlan.data.regions.writer import RegionFolder

NAMES = [f"{index}.png" for index in range(7)]
BAD = "4.png"


def open_folder(path, names=NAMES, info=INFO, shard_size=3):
    return RegionFolder(path, names, info, shard_size=shard_size)


def fill(folder, shards):
    for shard in shards:
        names = [folder.image_ids[position] for position in folder.inputs[shard]]
        rows = [folder.info.encode(random_row(name)) for name in names if name != BAD]
        folder.write(shard, rows, [SkippedInput(BAD, f"/{BAD}", "truncated", "ends early")] * (BAD in names))


def test_rows_are_read_back_in_order_and_the_report_names_the_others(tmp_path):
    folder = open_folder(tmp_path)
    fill(folder, folder.pending())
    report = folder.finish(max_bad_fraction=0.2)
    assert (report.rows_read, report.rows_kept, dict(report.counts)) == (7, 6, {"truncated": 1})
    assert [row["image_id"] for row in read_regions(tmp_path)] == [name for name in NAMES if name != BAD]
    written = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert written["rows"] == 6
    assert written["skipped"] == [
        {"image_id": BAD, "path": f"/{BAD}", "cause": "truncated", "message": "ends early"},
    ]


def test_only_shards_that_are_missing_or_damaged_are_pending(tmp_path):
    folder = open_folder(tmp_path)
    fill(folder, [0, 1])
    assert open_folder(tmp_path).pending() == [2]
    folder.path(1).write_bytes(folder.path(1).read_bytes()[:-20])
    assert open_folder(tmp_path).pending() == [1, 2]


def test_shard_of_other_inputs_is_pending(tmp_path):
    folder, other = open_folder(tmp_path / "a"), open_folder(tmp_path / "b", [f"other{name}" for name in NAMES])
    fill(folder, [0])
    fill(other, [0])
    other.path(0).replace(folder.path(0))
    assert folder.pending() == [0, 1, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": NAMES[:-1]}, "inputs.count is 7 there and 6 now"),
        ({"names": [*NAMES[:-1], "x.png"]}, "inputs.sha256"),
        ({"shard_size": 4}, "shard_size is 3 there and 4 now"),
    ],
)
def test_folder_begun_otherwise_is_refused(tmp_path, changes, message):
    open_folder(tmp_path)
    with pytest.raises(ValueError, match=f"begun otherwise: .*{message}"):
        open_folder(tmp_path, **changes)


def test_other_settings_and_detectors_are_refused(tmp_path):
    open_folder(tmp_path)
    with pytest.raises(ValueError, match=r"info.model_hash is 'abc' there and 'xyz' now"):
        open_folder(tmp_path, info=dataclasses.replace(INFO, model_hash="xyz"))
    with pytest.raises(ValueError, match=r"info.settings.max_boxes is None there and 36 now"):
        open_folder(tmp_path, info=dataclasses.replace(INFO, settings={"max_boxes": 36}))


def test_shards_without_a_manifest_are_not_added_to(tmp_path):
    folder = open_folder(tmp_path)
    fill(folder, [0])
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(ValueError, match="no manifest"):
        open_folder(tmp_path)


def test_two_inputs_with_one_id_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"2 inputs have the id 'a.png'"):
        open_folder(tmp_path, ["a.png", "b.png", "a.png"])


def test_left_overs_of_killed_runs_are_removed_at_the_end(tmp_path):
    folder = open_folder(tmp_path)
    left_over = tmp_path / ".saving-999-regions-00000-of-00003.parquet"
    left_over.write_bytes(b"half")
    fill(folder, folder.pending())
    folder.finish(max_bad_fraction=0.2)
    assert not left_over.exists()


def test_shard_that_would_lose_an_input_is_not_written(tmp_path):
    folder = open_folder(tmp_path)
    with pytest.raises(AssertionError, match="1 rows and skipped inputs for 3 inputs"):
        folder.write(0, [INFO.encode(random_row("0.png"))], [])
    assert not folder.path(0).exists()


def test_shard_without_rows_is_a_finished_one(tmp_path):
    folder = open_folder(tmp_path, [BAD, "b.png"], shard_size=1)
    fill(folder, [0, 1])
    assert open_folder(tmp_path, [BAD, "b.png"], shard_size=1).pending() == []
    (row,) = read_regions(tmp_path)
    assert same(row, random_row("b.png"), names=["image_id", "boxes", "features"])


@pytest.mark.parametrize("place", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99])
def test_shard_with_a_flipped_bit_is_pending(tmp_path, place):
    folder = open_folder(tmp_path)
    fill(folder, folder.pending())
    data, rows = bytearray(folder.path(1).read_bytes()), list(read_batches(folder.path(1)))
    data[int(place * len(data))] ^= 16
    folder.path(1).write_bytes(data)
    if open_folder(tmp_path).pending() != [1]:  # a bit that says nothing, such as of a page's statistics
        folder.path(1).write_bytes(data)
        assert list(read_batches(folder.path(1))) == rows


def test_shard_of_an_image_that_was_replaced_is_pending(tmp_path, caplog):
    images = [tmp_path / name for name in NAMES]
    for image in images:
        image.write_bytes(b"old" * 30_000)
    folder = RegionFolder(tmp_path / "out", NAMES, INFO, shard_size=3, paths=images)
    fill(folder, folder.pending())
    assert folder.pending() == []
    images[4].write_bytes(b"old" * 30_000)
    os.utime(images[5], (1, 1))
    assert folder.pending() == []
    for position, content in ((0, b"new" * 30_000), (4, b"old" * 30_001), (6, b"")):
        images[position].write_bytes(content)
        assert folder.pending() == [position // 3]
        fill(folder, folder.pending())
    images[5].unlink()
    assert folder.pending() == [1]
    assert "of images that were replaced since" in caplog.text


def test_shards_from_before_files_were_looked_at_are_finished(tmp_path):
    folder = open_folder(tmp_path)
    fill(folder, folder.pending())
    path = folder.path(0)
    table = pq.read_table(path)
    shard = json.loads(pq.read_metadata(path).metadata[SHARD_KEY])
    del shard["content"]
    metadata = table.schema.metadata | {SHARD_KEY: json.dumps(shard)}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    images = [tmp_path / name for name in NAMES]
    assert RegionFolder(tmp_path, NAMES, INFO, shard_size=3, paths=images).pending() == [1, 2]


@pytest.mark.parametrize(("names", "fraction"), [(["0", "1", BAD], 0), ([BAD], 1)])
def test_folder_that_left_out_too_much_is_not_read_by_mistake(tmp_path, caplog, names, fraction):
    folder = open_folder(tmp_path, names)
    fill(folder, folder.pending())
    with pytest.raises(TooManyBadRowsError, match="1 x truncated"):
        folder.finish(max_bad_fraction=fraction)
    with pytest.raises(RegionShardError, match=r"a run that failed: more than .* Mend them, or give that command"):
        read_regions(tmp_path)
    assert len(read_regions(tmp_path, on_bad_shard="skip")) == len(names) - 1
    assert "a run that failed" in caplog.text
    if len(names) > 1:
        folder.finish(max_bad_fraction=0.5)
        assert len(read_regions(tmp_path)) == 2
