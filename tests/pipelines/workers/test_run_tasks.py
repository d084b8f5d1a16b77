import os
import pickle
import signal
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from helpers import forked
from helpers.worker_tasks import Worker, open_nothing
from wenlan.pipelines.workers import run_tasks as run_tasks_module
from wenlan.pipelines.workers.run_tasks import OpenedWorker, run_tasks


def opened(folder):
    return len([*folder.glob("opened-*")])


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def beats(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("beat-*")}


def test_one_process_runs_the_tasks_in_turn_with_one_worker(tmp_path):
    results = run_tasks(partial(Worker, tmp_path), iter([3, 1, 2]))
    assert next(results) == (0, 9)
    assert not (tmp_path / "done-1").exists()  # not before it is asked for
    assert list(results) == [(1, 1), (2, 4)]
    assert opened(tmp_path) == 1


@pytest.mark.parametrize("num_proc", [2, None])
def test_a_single_task_or_none_starts_no_process(tmp_path, num_proc):
    assert list(run_tasks(partial(Worker, tmp_path), [], num_proc=num_proc)) == []
    assert opened(tmp_path) == 0
    assert list(run_tasks(partial(Worker, tmp_path), ["process"], num_proc=num_proc)) == [(0, os.getpid())]


def test_by_default_only_what_takes_long_is_shared_by_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(run_tasks_module, "usable_cores", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    tasks = ["process"] * 5
    assert set(dict(run_tasks(partial(Worker, tmp_path), tasks, num_proc=None)).values()) == {os.getpid()}
    monkeypatch.setattr(run_tasks_module, "SECONDS_ALONE", 0.3)
    found = dict(run_tasks(partial(Worker, tmp_path), tasks, num_proc=None))
    assert [found[0], found[1]] == [os.getpid()] * 2
    assert os.getpid() not in (found[2], found[3], found[4])


def test_several_processes_run_each_task_once_and_share_the_threads(tmp_path):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        found = dict(run_tasks(partial(Worker, tmp_path), [*range(20), "threads", *["process"] * 6], num_proc=2))
    finally:
        torch.set_num_threads(threads)
    assert [found[position] for position in range(20)] == [number**2 for number in range(20)]
    assert found[20] == 2
    assert len(set(found[position] for position in range(21, 27))) == opened(tmp_path) == 2
    assert os.getpid() not in found.values()


def test_errors_of_a_worker_arrive_with_their_class_and_text(tmp_path):
    with pytest.raises(LookupError, match=r"^one and two$"):
        list(run_tasks(partial(Worker, tmp_path), ["lookup", 1], num_proc=2))
    with pytest.raises(FileNotFoundError, match=r"^There is no model\.$"):
        list(run_tasks(open_nothing, [1, 2], num_proc=2))


def test_killed_process_is_one_line_and_what_was_finished_stays(tmp_path):
    with pytest.raises(ChildProcessError, match="A worker process died") as caught:
        list(run_tasks(partial(Worker, tmp_path), [5, 6, 7, "process", "die", "beat", "beat", 8], num_proc=2))
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.glob("done-[567]")} == {"done-5", "done-6", "done-7"}
    assert not (tmp_path / "done-8").exists()


def test_processes_end_when_the_results_are_no_longer_wanted(tmp_path):
    results = run_tasks(partial(Worker, tmp_path), [1, 2, "beat", "beat"], num_proc=2)
    next(results)
    wait_until(lambda: len(beats(tmp_path)) == 2)
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < 5
    last = beats(tmp_path)
    time.sleep(0.2)
    assert beats(tmp_path) == last


def beat_twice(folder):
    list(run_tasks(partial(Worker, Path(folder)), ["beat", "beat"], num_proc=2))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_the_one_that_started_them(tmp_path, number):
    process = forked.start(beat_twice, str(tmp_path), log=tmp_path / "log.txt")
    wait_until(lambda: len(beats(tmp_path)) == 2)
    os.kill(process.pid, number)
    process.join(20)
    assert process.exitcode not in (None, 0)
    wait_until(lambda: not any(Path("/proc", name.removeprefix("beat-")).exists() for name in beats(tmp_path)), 10)


def test_opened_worker_is_reused_here_and_opened_anew_elsewhere(tmp_path):
    worker = Worker(tmp_path)
    opener = OpenedWorker(worker, partial(Worker, tmp_path))
    assert opener() is worker
    assert list(run_tasks(opener, [2])) == [(0, 4)]
    again = pickle.loads(pickle.dumps(opener))()
    assert again is not worker
    assert again(3) == 9


def test_number_of_processes_below_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match="num_proc is 0; it must be 1 or more"):
        list(run_tasks(partial(Worker, tmp_path), [1], num_proc=0))
