"""Checkpoints are ordered by run and step; the oldest go, and never one that is whole for one that is not."""

import os
import shutil

import pytest
from helpers.training.tiny_trainer import build_trainer
from wenlan.training.checkpoints.atomic_trainer import recover_partial_checkpoints
from wenlan.training.checkpoints.manifest import read_manifest, write_manifest
from wenlan.training.checkpoints.resume import newest_valid_checkpoint
from wenlan.training.checkpoints.rotation import find_checkpoints, number_of_run, rotate_checkpoints


@pytest.fixture
def make(tmp_path):
    """Makes a checkpoint with little in it."""

    def make(step, run=1):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "model.safetensors").write_text("weights")
        write_manifest(folder, run=run, step=step)
        return folder

    return make


def names(paths):
    return [path.name for path in paths]


def test_order_is_that_of_run_and_step_whatever_the_clock_says(tmp_path, make):
    for age, (step, run) in enumerate([(100, 1), (20, 1), (3, 2), (9, 2)]):
        os.utime(make(step, run), (4e9 - age, 4e9 - age))
    assert names(find_checkpoints(tmp_path)) == ["checkpoint-20", "checkpoint-100", "checkpoint-3", "checkpoint-9"]


def test_clock_that_was_set_back_costs_no_new_checkpoint(own_checkpoints):
    """All that is there seems to be written in the future."""
    for path in own_checkpoints.glob("checkpoint-*"):
        os.utime(path, (4e9, 4e9))
    trainer = build_trainer(own_checkpoints, max_steps=8, save_total_limit=2)
    trainer.train(resume_from_checkpoint=str(own_checkpoints / "checkpoint-4"))
    assert sorted(names(own_checkpoints.glob("checkpoint-*"))) == ["checkpoint-6", "checkpoint-8"]
    assert read_manifest(own_checkpoints / "checkpoint-8").run == 1


def test_run_from_an_older_checkpoint_is_newer_than_what_was_there(own_checkpoints):
    (own_checkpoints / "checkpoint-4" / "optimizer.pt").write_bytes(b"damaged")
    trainer = build_trainer(own_checkpoints, max_steps=3, save_total_limit=2)
    trainer.train(resume_from_checkpoint=str(own_checkpoints / "checkpoint-2"))
    assert newest_valid_checkpoint(own_checkpoints) == own_checkpoints / "checkpoint-3"
    assert read_manifest(own_checkpoints / "checkpoint-3").run == 2


def test_run_that_begins_in_a_folder_of_another_gets_the_next_number(tmp_path, make):
    assert number_of_run(tmp_path, None) == 1
    last = make(7, run=3)
    make(2, run=3)
    assert [number_of_run(tmp_path, checkpoint) for checkpoint in (None, last)] == [4, 3]
    assert number_of_run(tmp_path, tmp_path / "checkpoint-2") == 4
    elsewhere = shutil.copytree(last, tmp_path / "elsewhere" / "checkpoint-7")
    assert number_of_run(tmp_path, elsewhere) == 4


def test_incomplete_checkpoints_go_before_whole_ones(tmp_path, make):
    """As if killed while they were removed, by a version that removed file by file."""
    whole, half, empty, newest = (make(step) for step in (2, 4, 6, 8))
    (half / "model.safetensors").unlink()
    (empty / "manifest.json").unlink()
    rotate_checkpoints(tmp_path, newest, limit=2, best=None)
    assert sorted(names(tmp_path.iterdir())) == sorted([whole.name, newest.name])


def test_best_and_newest_stay_even_beyond_the_limit(tmp_path, make):
    best, _, newest = (make(step) for step in (2, 4, 6))
    rotate_checkpoints(tmp_path, newest, limit=1, best=str(best))
    assert sorted(names(tmp_path.iterdir())) == [best.name, newest.name]


@pytest.mark.parametrize("limit", [None, 0, 3])
def test_nothing_goes_within_the_limit(tmp_path, make, limit):
    newest = [make(step) for step in (2, 4, 6)][-1]
    rotate_checkpoints(tmp_path, newest, limit=limit, best=None)
    assert len(list(tmp_path.iterdir())) == 3


def test_folders_of_others_are_left_alone(tmp_path, make):
    for name in ("checkpoint-best", "checkpoint-3-copy"):
        (tmp_path / name).mkdir()
    newest = [make(step) for step in (2, 4)][-1]
    rotate_checkpoints(tmp_path, newest, limit=1, best=None)
    assert sorted(names(tmp_path.iterdir())) == ["checkpoint-3-copy", "checkpoint-4", "checkpoint-best"]


def test_checkpoint_that_is_being_removed_has_no_name_any_more(own_checkpoints, monkeypatch):
    """Killed in the middle of it: what is left is cleared at the next start and never taken for a checkpoint."""

    def kill(path, ignore_errors):
        if path.exists():
            (path / "optimizer.pt").unlink()
            raise RuntimeError("killed")

    monkeypatch.setattr(shutil, "rmtree", kill)
    with pytest.raises(RuntimeError, match="killed"):
        rotate_checkpoints(own_checkpoints, own_checkpoints / "checkpoint-4", limit=1, best=None)
    monkeypatch.undo()
    assert names(find_checkpoints(own_checkpoints)) == ["checkpoint-4"]
    recover_partial_checkpoints(own_checkpoints)
    assert names(own_checkpoints.iterdir()) == ["checkpoint-4"]
