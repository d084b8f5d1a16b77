"""A test without the mark "slow" that works for long fails: the quick part stays quick.

Measured in processor time with that of child processes, which another program on the machine hardly changes.
"""

import os
from collections.abc import Generator

import pytest

LIMIT = 20.0  # twice what the mark means: cores differ
STARTED = pytest.StashKey[float]()


def processor_time() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[STARTED] = processor_time()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    seconds = processor_time() - item.stash[STARTED]
    if call.when == "call" and report.passed and seconds > LIMIT and not item.get_closest_marker("slow"):
        report.outcome = "failed"
        report.longrepr = f"{seconds:.0f} s of processor time, fixtures included: speed it up or mark it slow."
    return report
