"""`wenlan extract-regions` as a process of its own, killed with SIGKILL, stopped with Ctrl-C, and started again."""

import shutil
import signal

import pytest
from helpers.regions.images import save_detector, save_images, spoil
from helpers.stopped_command import StoppedCommand
from wenlan.data import read_regions
from wenlan.pipelines.region_extraction import RegionChoice, extract_regions

pytestmark = pytest.mark.slow
COUNT, SHARD_SIZE = 120, 5
SHARDS = COUNT // SHARD_SIZE


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """An undisturbed run, and one that was killed, then interrupted, then left alone."""
    folder = tmp_path_factory.mktemp("extract")
    save_detector(folder / "model")
    names = save_images(folder, COUNT)
    causes = spoil(folder, names[3::24])
    (folder / "list.txt").write_text("\n".join(names), "utf-8")
    choice = RegionChoice(min_boxes=4, max_boxes=8)
    whole = folder / "whole"
    extract_regions(folder / "list.txt", whole, model=folder / "model", choice=choice, shard_size=SHARD_SIZE)
    options = ["--min-boxes", "4", "--max-boxes", "8", "--shard-size", str(SHARD_SIZE), "--model", folder / "model"]
    arguments = ["extract-regions", folder / "list.txt", "--output", folder / "out", *options]
    runs = StoppedCommand(arguments, lambda: [*(folder / "out").glob("regions-*.parquet")])
    found = {"names": names, "causes": causes, "whole": whole, "out": folder / "out"}
    found["killed"] = runs.stop(folder / "1.txt", signal.SIGKILL, 4)
    found["after_kill"] = runs.shards()
    (folder / "out" / ".saving-1-regions-00000-of-00024.parquet").write_bytes(b"half a shard")
    found["interrupted"] = runs.stop(folder / "2.txt", signal.SIGINT, 4)
    found["after_interrupt"], found["message"] = runs.shards(), (folder / "2.txt").read_text()
    found["finished"] = runs.finish(folder / "3.txt")
    found["after_finish"], found["report"] = runs.shards(), (folder / "3.txt").read_text()
    return found


def test_both_stops_came_in_the_middle(outcome):
    assert outcome["killed"] == -signal.SIGKILL
    assert 4 <= len(outcome["after_kill"]) < SHARDS
    assert len(outcome["after_kill"]) < len(outcome["after_interrupt"]) < SHARDS


def test_complete_shards_are_kept(outcome):
    after = outcome["after_finish"]
    assert all(after[name] == data for name, data in outcome["after_kill"].items())
    assert all(after[name] == data for name, data in outcome["after_interrupt"].items())


def test_files_equal_those_of_an_undisturbed_run_bit_by_bit(outcome):
    assert outcome["finished"] == 0
    whole = {path.name: path.read_bytes() for path in outcome["whole"].iterdir()}
    assert {path.name: path.read_bytes() for path in outcome["out"].iterdir()} == whole


def test_no_row_is_lost_and_none_is_there_twice(outcome, tmp_path):
    ids = [row["image_id"] for row in read_regions(outcome["out"], cache_dir=tmp_path)]
    assert ids == [name for name in outcome["names"] if name not in outcome["causes"]]


def test_counts_are_those_of_all_runs_together(outcome):
    assert f"kept {COUNT - 5} of {COUNT} rows" in outcome["report"]
    assert all(f"1 x {cause}" in outcome["report"] for cause in outcome["causes"].values())


def test_interrupt_ends_with_130_and_says_how_to_go_on(outcome):
    assert outcome["interrupted"] == 130
    assert "To resume: wenlan extract-regions" in outcome["message"]
    assert "Traceback" not in outcome["message"]


def test_damaged_shard_is_made_again(outcome, tmp_path):
    shutil.copytree(outcome["out"], tmp_path / "out")
    shard = tmp_path / "out" / "regions-00002-of-00024.parquet"
    data = shard.read_bytes()
    shard.write_bytes(data[:100])
    folder = outcome["out"].parent
    choice = RegionChoice(min_boxes=4, max_boxes=8)
    extract_regions(folder / "list.txt", tmp_path / "out", model=folder / "model", choice=choice, shard_size=SHARD_SIZE)
    assert shard.read_bytes() == data
