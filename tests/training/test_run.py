"""A run that breaks fails and leaves no model. A folder that is in use is refused."""

import os
import signal
import subprocess
import sys

import pytest
from helpers.paths import ENVIRONMENT
from kill_resume import write_inputs
from torch.utils.data import DataLoader, Dataset
from wenlan.data.files.lock import LOCK, output_lock
from wenlan.training.identity import IDENTITY
from wenlan.training.run import REPORT, short_worker_errors
from wenlan.training_scripts import (
    finetune_retrieval,
    finetune_vqa,
    pretrain_brivl,
    pretrain_mlmm,
    train_region_detector,
)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--learning_rate", "1e38", r"After step \d+, .* are not finite"),
        ("--learning_rate", "1e10", r"diverged: after step 3 the largest weight is|3 steps were dropped"),
        ("--adam_epsilon", "0", r"After step \d+, .* are not finite"),
    ],
)
def test_run_that_breaks_before_anything_is_saved_or_logged_fails_without_a_model(
    tmp_path, capsys, option, value, message
):
    output = tmp_path / "run"
    length = ["--max_steps", "3", "--save_steps", "100", "--logging_steps", "100"]
    with pytest.raises(ValueError, match=message):
        pretrain_brivl.main([str(write_inputs(tmp_path)), "--output_dir", str(output), *length, option, value])
    assert "The model is in" not in capsys.readouterr().out
    assert {path.name for path in output.iterdir()} == {REPORT, IDENTITY}


@pytest.mark.parametrize(
    ("script", "recipe"),
    [
        (pretrain_brivl, "brivl_tiny"),
        (pretrain_mlmm, "mlmm_tiny"),
        (train_region_detector, "detector_tiny"),
        (finetune_retrieval, "retrieval_tiny"),
        (finetune_vqa, "vqa_tiny"),
    ],
)
def test_folder_that_another_run_writes_is_refused_before_anything_is_read(tmp_path, script, recipe):
    with output_lock(tmp_path):
        with pytest.raises(ValueError, match="is writing into"):
            script.main([recipe, "--output_dir", str(tmp_path), "--resume"])
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]


@pytest.mark.slow
def test_all_ranks_end_when_the_folder_is_in_use(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", pretrain_brivl.__name__]
    command += ["brivl_tiny", "--output_dir", str(tmp_path), "--use_cpu", "true", "--ddp_backend", "gloo"]
    with output_lock(tmp_path):
        result = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 1
    assert result.stderr.count("ValueError: Process ") == 2


def fail_in_a_worker(kind):
    """Raises as a DataLoader does for an error in its worker, with a cause of its own."""

    class Rows(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            if kind == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                int("a")
            except ValueError as error:
                raise kind(f"images/{index}.png: broken.\nMend it: now") from error

    with short_worker_errors():
        list(DataLoader(Rows(), num_workers=1))


def test_error_in_a_worker_reads_like_one_without_workers():
    with pytest.raises(ValueError, match=r"\Aimages/0\.png: broken\.\nMend it: now\Z"):
        fail_in_a_worker(ValueError)


def test_bug_in_a_worker_keeps_its_traceback():
    with pytest.raises(KeyError, match="Original Traceback"):
        fail_in_a_worker(KeyError)


def test_killed_worker_is_said_in_a_line_with_what_to_do():
    with pytest.raises(ChildProcessError, match=r"(is killed by signal|exited unexpectedly).*--dataloader_num_workers"):
        fail_in_a_worker("killed")
