"""Every kind of damage to every file of a real checkpoint is found."""

import json
import subprocess
import sys

import pytest
import torch
from helpers.paths import ENVIRONMENT
from safetensors.torch import save_file
from wenlan.data.files.json_files import format_json
from wenlan.training.checkpoints.manifest import Manifest, read_manifest, verify_checkpoint, write_manifest
from wenlan.training.checkpoints.resume import newest_valid_checkpoint

FILES = [
    "config.json",
    "manifest.json",
    "model.safetensors",
    "optimizer.pt",
    "rng_state.pth",
    "scheduler.pt",
    "trainer_state.json",
    "training_args.bin",
]


def truncate(fraction):
    def damage(path):
        path.write_bytes(path.read_bytes()[: int(fraction * path.stat().st_size)])

    return damage


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "truncated at 0 %": truncate(0),
    "truncated at 50 %": truncate(0.5),
    "truncated at 99 %": truncate(0.99),
    "deleted": lambda path: path.unlink(),
    "one bit flipped": flip_a_bit,
}
every_damage = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
every_file = pytest.mark.parametrize("name", FILES)


@pytest.fixture
def small(tmp_path):
    """A folder with the files of a checkpoint, a few bytes each."""
    for name in FILES:
        (tmp_path / name).write_text(f"what {name} holds", "utf-8")
    save_file({"weight": torch.ones(2)}, tmp_path / "model.safetensors")
    torch.save({"state": {0: {"exp_avg": torch.ones(2)}}}, tmp_path / "optimizer.pt")
    (tmp_path / "manifest.json").unlink()
    write_manifest(tmp_path, run=1, step=4)
    return tmp_path


def test_files_below_are_those_of_a_real_checkpoint(checkpoints):
    assert sorted(path.name for path in (checkpoints / "checkpoint-4").iterdir()) == FILES


def test_checkpoint_as_it_was_saved_has_no_fault(checkpoints):
    assert verify_checkpoint(checkpoints / "checkpoint-4", world_size=1) is None


@every_file
@every_damage
def test_damaged_checkpoint_is_passed_over_for_the_older_one(own_checkpoints, caplog, name, damage):
    damage(own_checkpoints / "checkpoint-4" / name)
    assert newest_valid_checkpoint(own_checkpoints) == own_checkpoints / "checkpoint-2"
    assert f"{own_checkpoints / 'checkpoint-4'}: " in caplog.text
    assert name in caplog.text


@every_file
@every_damage
def test_damaged_checkpoints_without_an_older_one_are_refused(own_checkpoints, name, damage):
    damage(own_checkpoints / "checkpoint-2" / name)
    damage(own_checkpoints / "checkpoint-4" / name)
    with pytest.raises(ValueError, match=f"(?s)checkpoint-4: .*{name}.*checkpoint-2: .*{name}"):
        newest_valid_checkpoint(own_checkpoints)


def test_one_flipped_bit_in_any_byte_of_the_manifest_is_found(small):
    path = small / "manifest.json"
    data = path.read_bytes()
    unnoticed = []
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        path.write_bytes(changed)
        unnoticed += [position] if verify_checkpoint(small) is None else []
    assert unnoticed == []


def test_manifest_with_other_white_space_is_refused(small):
    path = small / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8"))), "utf-8")
    assert verify_checkpoint(small) == "manifest.json was changed"


def test_added_weights_that_could_be_read_instead_are_refused(small):
    (small / "pytorch_model.bin").touch()
    assert verify_checkpoint(small) == "pytorch_model.bin was added"


def test_manifest_of_an_earlier_version_is_read_as_of_run_0(small):
    folder = small.rename(small.parent / "checkpoint-30")
    files = json.loads((folder / "manifest.json").read_text("utf-8"))["files"]
    (folder / "manifest.json").write_text(format_json(files), "utf-8")
    assert verify_checkpoint(folder) is None
    assert read_manifest(folder) == Manifest(0, 30, files)
    (folder / "config.json").write_text("other", "utf-8")
    assert "config.json is not what" in verify_checkpoint(folder)


@pytest.mark.parametrize("name", ["optimizer.pt", "trainer_state.json", "manifest.json"])
def test_file_with_an_input_output_error_is_a_fault_like_others(own_checkpoints, caplog, name):
    path = own_checkpoints / "checkpoint-4" / name
    path.unlink()
    path.symlink_to("/proc/self/mem")  # reading it is an error of the device, also for root
    assert newest_valid_checkpoint(own_checkpoints) == own_checkpoints / "checkpoint-2"
    assert f"checkpoint-4: {name} cannot be read (Input/output error)" in caplog.text


def test_folder_and_file_that_others_own_are_passed_over(own_checkpoints):
    (own_checkpoints / "checkpoint-4").chmod(0)
    command = "import os, pathlib, sys; from wenlan.training.checkpoints.manifest import verify_checkpoint; "
    command += "os.getuid() or os.setuid(65534); print(verify_checkpoint(pathlib.Path(sys.argv[1])))"
    for parent in (own_checkpoints, *own_checkpoints.parents[:4]):
        parent.chmod(parent.stat().st_mode | 0o055)
    result = subprocess.run(
        [sys.executable, "-c", command, own_checkpoints / "checkpoint-4"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert result.stdout == "manifest.json cannot be read (Permission denied)\n", result.stderr


def test_added_note_does_not_matter(small):
    (small / "notes.txt").touch()
    assert verify_checkpoint(small) is None


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"])
def test_checkpoint_that_was_saved_without_a_needed_part_is_refused(small, name):
    """The Trainer would go on without optimizer, scheduler or random state and say nothing."""
    (small / name).unlink()
    write_manifest(small, run=1, step=4)
    assert f"it holds no {name.split('.')[0]}" in verify_checkpoint(small)


def test_checkpoint_of_another_number_of_processes_is_refused(small):
    (small / "rng_state.pth").unlink()
    for rank in range(2):
        (small / f"rng_state_{rank}.pth").touch()
    write_manifest(small, run=1, step=4)
    assert verify_checkpoint(small, world_size=2) is None
    assert "saved by 2 processes and this run has 1" in verify_checkpoint(small, world_size=1)


def test_files_in_folders_count_too(small):
    (small / "optimizer_0").mkdir()
    (small / "optimizer_0" / "shard.distcp").write_text("a", "utf-8")
    write_manifest(small, run=1, step=4)
    (small / "optimizer_0" / "shard.distcp").write_text("b", "utf-8")
    assert "optimizer_0/shard.distcp is not what manifest.json says" in verify_checkpoint(small)
