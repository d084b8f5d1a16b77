"""A long test needs its mark, also when the time is spent in a fixture or a process of its own."""

import subprocess
import sys

from helpers.paths import ENVIRONMENT

CONFTEST = """
from helpers import slow_marks

slow_marks.LIMIT = 0.3
"""
TESTS = """
import subprocess, sys, time
import pytest

BUSY = "import time\\nwhile time.process_time() < 0.6: pass"

@pytest.fixture
def long_fixture():
    end = time.process_time() + 0.6
    while time.process_time() < end:
        pass

def test_quick(): pass
def test_idle(): time.sleep(0.6)
def test_long(long_fixture): pass
def test_long_child(): subprocess.run([sys.executable, "-c", BUSY], check=True)
@pytest.mark.slow
def test_marked(long_fixture): pass
"""


def test_only_a_test_that_works_for_long_without_the_mark_fails(tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST, "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow: long\n", "utf-8")
    (tmp_path / "test_times.py").write_text(TESTS, "utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "helpers.slow_marks", "-p", "no:cacheprovider", "-rA"]
    run = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    lines = [line.split(" - ")[0] for line in run.stdout.splitlines() if line.startswith(("PASSED ", "FAILED "))]
    assert sorted(lines) == [
        "FAILED test_times.py::test_long",
        "FAILED test_times.py::test_long_child",
        *(f"PASSED test_times.py::test_{name}" for name in ("idle", "marked", "quick")),
    ]
    assert "speed it up or mark it slow" in run.stdout
