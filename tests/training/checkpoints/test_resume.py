import os

import pytest
from helpers.training.tiny_trainer import build_trainer
from transformers import TrainingArguments
from wenlan.training.checkpoints.resume import newest_valid_checkpoint, resolve_resume_checkpoint


def choose(folder, *, resume=True, **arguments):
    return resolve_resume_checkpoint(TrainingArguments(folder, use_cpu=True, **arguments), resume=resume)


def test_newest_checkpoint_is_taken_and_named(checkpoints, capsys):
    assert choose(checkpoints) == str(checkpoints / "checkpoint-4")
    assert f"Continues from {checkpoints}/checkpoint-4." in capsys.readouterr().out


def test_run_without_checkpoints_starts_from_the_beginning_and_says_so(tmp_path, capsys):
    assert choose(tmp_path / "new") is None
    assert f"No checkpoint in {tmp_path / 'new'}: from the beginning." in capsys.readouterr().out


def test_run_without_resume_starts_from_the_beginning_and_mentions_the_checkpoints(checkpoints, capsys):
    assert choose(checkpoints, resume=False) is None
    assert "--resume would continue" in capsys.readouterr().out


def test_damaged_checkpoint_that_is_asked_for_is_refused(own_checkpoints):
    (own_checkpoints / "checkpoint-4" / "optimizer.pt").unlink()
    with pytest.raises(ValueError, match=r"Cannot continue from .*checkpoint-4: optimizer\.pt .*is missing"):
        choose(own_checkpoints, resume=False, resume_from_checkpoint=str(own_checkpoints / "checkpoint-4"))


def test_whole_checkpoint_that_is_asked_for_is_taken(checkpoints):
    asked = str(checkpoints / "checkpoint-2")
    assert choose(checkpoints, resume=False, resume_from_checkpoint=asked) == asked


def test_folder_that_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has no manifest\.json"):
        choose(tmp_path, resume=False, resume_from_checkpoint=str(tmp_path / "nowhere"))


def test_both_ways_to_resume_are_refused(checkpoints):
    with pytest.raises(ValueError, match="not both"):
        choose(checkpoints, resume_from_checkpoint="x")


def test_higher_step_of_an_earlier_run_is_not_newer(own_checkpoints):
    """A run that began anew in the same folder writes checkpoint-2 and 3 after the other's checkpoint-4."""
    build_trainer(own_checkpoints, max_steps=3).train()
    os.utime(own_checkpoints / "checkpoint-4", (4e9, 4e9))  # the clock says otherwise
    assert newest_valid_checkpoint(own_checkpoints) == own_checkpoints / "checkpoint-3"


def test_note_in_an_old_checkpoint_does_not_make_it_the_newest(own_checkpoints):
    (own_checkpoints / "checkpoint-2" / "note.txt").touch()
    os.utime(own_checkpoints / "checkpoint-2", (4e9, 4e9))
    assert newest_valid_checkpoint(own_checkpoints) == own_checkpoints / "checkpoint-4"


def test_unfinished_save_is_cleared_away(own_checkpoints):
    saving = own_checkpoints / ".saving-6"
    (own_checkpoints / "checkpoint-4").rename(own_checkpoints / "copy")
    saving.mkdir()
    (own_checkpoints / "copy").rename(saving / "checkpoint-6")
    (saving / "checkpoint-6" / "manifest.json").unlink()
    (own_checkpoints / ".saving-1-metrics.json").touch()
    assert choose(own_checkpoints) == str(own_checkpoints / "checkpoint-2")
    assert list(own_checkpoints.glob(".saving-*")) == []


def test_save_that_lacked_only_its_name_gets_it(own_checkpoints):
    """The process was killed between moving away an old folder of that name and moving in the new one."""
    saving = own_checkpoints / ".saving-4"
    saving.mkdir()
    (own_checkpoints / "checkpoint-4").rename(saving / "checkpoint-4")
    (saving / "replaced").mkdir()
    assert choose(own_checkpoints) == str(own_checkpoints / "checkpoint-4")
    assert list(own_checkpoints.glob(".saving-*")) == []
