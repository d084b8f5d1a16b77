"""Commands that are killed and resumed give the files of an unbroken run, bit by bit: three kills each."""

import os
import subprocess
import sys

import pytest
from helpers.paths import ROOT
from kill_resume import JOBS

BENCHMARK = ROOT / "benchmarks" / "kill_resume.py"


@pytest.mark.slow
@pytest.mark.parametrize("command", JOBS)
def test_three_killed_and_resumed_runs_are_bit_equal_to_unbroken_ones(command):
    """In a process of its own, whose children share its imports; two of the kills fall into the saving."""
    words = [sys.executable, str(BENCHMARK), "--command", command, "--kills", "3", "--method", "fork", "--seed", "1"]
    result = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"| {command} | 3 of 3 |" in result.stdout
