import os

import pytest
from wenlan.pipelines.workers import cores


@pytest.mark.parametrize(
    ("quota", "count"), [("max 100000", 6), ("250000 100000", 2), ("50000 100000", 1), ("900000 100000", 6), ("?", 6)]
)
def test_cores_are_those_of_the_affinity_within_the_quota(quota, count, tmp_path, monkeypatch):
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(cores, "CPU_MAX", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    assert cores.usable_cores() == count
