import os
import pty
import signal
import subprocess
import sys
import threading
import time

import pytest
from helpers.training.tiny_trainer import build_trainer
from kill_resume import write_inputs
from safetensors.torch import load_file
from transformers import TrainerCallback
from wenlan.training.callbacks.set_epoch import SetEpochCallback
from wenlan.training.callbacks.stop_on_signal import SIGNALS, StopOnSignal, train_until_signal
from wenlan.training.checkpoints.manifest import verify_checkpoint
from wenlan.training.checkpoints.resume import newest_valid_checkpoint


@pytest.fixture(autouse=True)
def hangup():
    """SIGHUP as a terminal gives it to its programs, also where the tests run under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


class Signal(TrainerCallback):
    """Sends a signal to this process in mid-step."""

    def __init__(self, number, step, times=1):
        self.number, self.step, self.times = number, step, times

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        if state.global_step + 1 == self.step:
            for _ in range(self.times):
                signal.raise_signal(self.number)  # to this thread, at once: two of os.kill may become one


def stopped(trainer, checkpoint=None):
    with pytest.raises(SystemExit) as exit_info:
        train_until_signal(trainer, checkpoint)
    return exit_info.value.code


# SIGTERM comes twice from `timeout` and from torchrun
@pytest.mark.parametrize(
    ("number", "times", "code"), [(signal.SIGTERM, 2, 143), (signal.SIGINT, 1, 130), (signal.SIGHUP, 2, 129)]
)
def test_signal_ends_the_run_after_its_step_with_a_whole_checkpoint(tmp_path, number, times, code, capsys):
    trainer = build_trainer(tmp_path / "run", Signal(number, 3, times), save_strategy="no")
    assert stopped(trainer) == code
    assert trainer.state.global_step == 3
    assert verify_checkpoint(tmp_path / "run" / "checkpoint-3") is None
    assert "after step 3" in capsys.readouterr().out


@pytest.mark.slow
def test_stopped_run_goes_on_to_the_end_of_an_unbroken_one(tmp_path):
    build_trainer(tmp_path / "whole", SetEpochCallback(), max_steps=9).train()
    assert stopped(build_trainer(tmp_path / "run", SetEpochCallback(), Signal(signal.SIGTERM, 6), max_steps=9)) == 143
    trainer = build_trainer(tmp_path / "run", SetEpochCallback(), max_steps=9)
    train_until_signal(trainer, str(newest_valid_checkpoint(tmp_path / "run")))
    whole, broken = (load_file(tmp_path / name / "checkpoint-9" / "model.safetensors") for name in ("whole", "run"))
    assert [name for name in whole if not whole[name].equal(broken[name])] == []


def test_run_without_a_signal_returns(tmp_path):
    trainer = build_trainer(tmp_path / "run", max_steps=1)
    train_until_signal(trainer, None)
    assert trainer.state.global_step == 1


def test_second_interrupt_ends_the_run_at_once(tmp_path):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            train_until_signal(build_trainer(tmp_path / "run", Signal(signal.SIGINT, 2, times=2)), None)
    finally:
        signal.signal(signal.SIGINT, before)


def test_handlers_are_those_of_before_also_after_an_error():
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(ValueError, match="stop"), StopOnSignal():
        raise ValueError("stop")
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_other_threads_train_without_handlers():
    entered = []
    thread = threading.Thread(target=lambda: entered.append(StopOnSignal().__enter__()))
    thread.start()
    thread.join()
    assert entered[0].signal_number is None


def test_evaluation_and_second_save_at_the_end_of_an_epoch_are_skipped(tmp_path):
    """The signal comes in the last step of an epoch, of which there are four."""
    strategies = {"save_strategy": "epoch", "eval_strategy": "epoch", "max_steps": 8}
    trainer = build_trainer(tmp_path / "run", Signal(signal.SIGTERM, 4), **strategies)
    assert stopped(trainer) == 143
    assert not any("eval_loss" in entry for entry in trainer.state.log_history)
    assert verify_checkpoint(tmp_path / "run" / "checkpoint-4") is None


@pytest.mark.slow
def test_command_exits_with_143_when_its_whole_process_group_is_terminated(tmp_path):
    """As `timeout` does; the DataLoader workers would die of it, and with them the step at hand."""
    recipe, output = write_inputs(tmp_path), tmp_path / "run"
    options = ["--output_dir", str(output), "--max_steps", "100000", "--dataloader_num_workers", "2"]
    command = [sys.executable, "-m", "wenlan", "pretrain-brivl", str(recipe), *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command, start_new_session=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, **pipes)
    while process.poll() is None and not list(output.glob("checkpoint-*")):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGTERM)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 143, printed
    newest = newest_valid_checkpoint(output)
    assert f"Stopped by a signal after step {newest.name.removeprefix('checkpoint-')}." in printed
    assert "--resume" in printed


def test_hangup_that_nohup_ignores_stays_ignored(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        trainer = build_trainer(tmp_path / "run", Signal(signal.SIGHUP, 2), max_steps=3)
        train_until_signal(trainer, None)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert trainer.state.global_step == 3


@pytest.mark.slow
def test_closed_terminal_ends_the_command_with_129_and_a_checkpoint(tmp_path):
    """All that it prints goes to the terminal, which is gone then."""
    recipe, output = write_inputs(tmp_path), tmp_path / "run"
    options = ["--output_dir", str(output), "--max_steps", "100000", "--disable_tqdm", "false", "--logging_steps", "1"]
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [sys.executable, "-m", "wenlan", "pretrain-brivl", str(recipe), *options])
    while not list(output.glob("checkpoint-*")):
        os.read(terminal, 10_000)
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    assert list(output.glob(".saving-*")) == []
    assert newest_valid_checkpoint(output) is not None
