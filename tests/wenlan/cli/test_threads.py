import os

import pytest
from wenlan.pipelines.workers import cores

from wenlan.cli import threads


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")  # so that it is restored afterwards
        monkeypatch.delenv(name)


def use_quota(text, tmp_path, monkeypatch):
    (tmp_path / "cpu.max").write_text(text)
    monkeypatch.setattr(cores, "CPU_MAX", tmp_path / "cpu.max")


def test_threads_sleep_while_they_wait(tmp_path, monkeypatch):
    use_quota("max 100000\n", tmp_path, monkeypatch)
    threads.set_thread_defaults()
    assert os.environ["OMP_WAIT_POLICY"] == "passive"
    assert "OMP_NUM_THREADS" not in os.environ


def test_what_the_user_set_stays(tmp_path, monkeypatch):
    use_quota("50000 100000\n", tmp_path, monkeypatch)
    given = {"OMP_WAIT_POLICY": "active", "OMP_NUM_THREADS": "7"}
    os.environ |= given
    threads.set_thread_defaults()
    assert os.environ | given == os.environ


@pytest.mark.parametrize(("quota", "count"), [("50000 100000", "1"), ("150000 100000", "1")])
def test_quota_of_a_container_limits_the_number_of_threads(quota, count, tmp_path, monkeypatch):
    use_quota(quota, tmp_path, monkeypatch)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    threads.set_thread_defaults()
    assert os.environ["OMP_NUM_THREADS"] == count


def test_machine_without_control_groups_sets_no_number(tmp_path, monkeypatch):
    monkeypatch.setattr(cores, "CPU_MAX", tmp_path / "none")
    threads.set_thread_defaults()
    assert "OMP_NUM_THREADS" not in os.environ
