import os
import subprocess
import sys

import pytest
from helpers.paths import ROOT

BENCHMARK = ROOT / "benchmarks" / "kill_resume.py"


@pytest.mark.slow
def test_three_killed_and_resumed_runs_are_bit_equal_to_undisturbed_ones():
    """In a process of its own, whose children share its imports; two of the kills fall into the saving."""
    command = [sys.executable, str(BENCHMARK), "--kills", "3", "--method", "fork", "--seed", "1"]
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert result.returncode == 0, result.stdout + result.stderr
    assert "3 of 3 resumed runs are bit-equal" in result.stdout
    assert result.stdout.count("Killed") == 3
