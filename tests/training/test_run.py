"""A run that breaks fails and leaves no model. A folder that is in use is refused."""

import json
import os
import resource
import signal
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.paths import ENVIRONMENT
from helpers.training.tiny_trainer import build_trainer
from kill_resume import write_inputs
from torch.utils.data import DataLoader, Dataset
from wenlan.data.files.lock import LOCK, output_lock
from wenlan.processing import MLMMProcessor
from wenlan.training.checkpoints.manifest import verify_checkpoint
from wenlan.training.identity import IDENTITY
from wenlan.training.run import REPORT, Run, RunArguments, short_worker_errors
from wenlan.training_scripts import (
    finetune_retrieval,
    finetune_vqa,
    pretrain_brivl,
    pretrain_mlmm,
    train_region_detector,
    train_vqgan,
)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--learning_rate", "1e38", r"After step \d+, .* are not finite"),
        ("--learning_rate", "1e10", r"diverged: after step 3 the largest weight is|3 steps were dropped"),
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
        (pretrain_brivl, "brivl_tiny_scratch"),
        (pretrain_mlmm, "mlmm_tiny"),
        (train_region_detector, "detector_tiny"),
        (train_vqgan, "vqgan_tiny"),
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
    command += ["brivl_tiny_scratch", "--output_dir", str(tmp_path), "--use_cpu", "true", "--ddp_backend", "gloo"]
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


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("streaming", ["false", "true"])
def test_run_that_has_ended_ends_at_once_when_it_is_resumed_and_writes_the_same_files(tmp_path, streaming, capsys):
    """A stream, which never ends by itself, too; also where only the last save is missing."""
    recipe, output = write_inputs(tmp_path), tmp_path / "run"
    pairs = [json.loads(line) for line in (tmp_path / "images" / "metadata.jsonl").read_text("utf-8").splitlines()]
    images = [(tmp_path / "images" / pair["image"]).read_bytes() for pair in pairs]
    texts = [pair["text"][0] for pair in pairs]
    pq.write_table(pa.table({"image": images, "text": texts}), tmp_path / "pairs.parquet")
    data = ["--data", str(tmp_path / "pairs.parquet"), "--streaming", "true"] if streaming == "true" else []
    command = [str(recipe), "--output_dir", str(output), *data, "--max_steps", "3", "--save_steps", "2"]
    pretrain_brivl.main(command)
    whole = files(output)
    pretrain_brivl.main([*command, "--resume"])
    assert files(output) == whole
    for name in ("model.safetensors", "config.json"):
        (output / name).unlink()
    pretrain_brivl.main([*command, "--resume"])
    assert files(output) == whole
    assert capsys.readouterr().out.count("The model is in") == 3


def test_model_that_does_not_fit_on_the_disk_is_one_line_and_leaves_none(tmp_path, small_tokenizer):
    trainer, before = build_trainer(tmp_path / "run"), resource.getrlimit(resource.RLIMIT_FSIZE)
    trainer.train()
    run = Run(trainer.args, RunArguments())
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"could not be written into .*It needs \d+\.\d kB; .*B are free .*--resume"):
            run.save(trainer, MLMMProcessor(small_tokenizer), part="brivl")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(path.name for path in run.output_dir.iterdir()) == ["checkpoint-2", "checkpoint-4"]
    assert verify_checkpoint(run.output_dir / "checkpoint-4") is None
