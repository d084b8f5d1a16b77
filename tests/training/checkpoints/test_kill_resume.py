"""Commands that are killed and resumed give the files of an unbroken run, bit by bit: three kills each."""

import kill_resume
import pytest
from helpers import forked


@pytest.mark.slow
@pytest.mark.parametrize("command", kill_resume.JOBS)
def test_three_killed_and_resumed_runs_are_bit_equal_to_unbroken_ones(command, tmp_path):
    """In a process of its own, whose children share its imports; two of the kills fall into the saving."""
    words, log = ["--command", command, "--kills", "3", "--method", "fork", "--seed", "1"], tmp_path / "log"
    forked.run(kill_resume.main, words, log=log)
    assert f"| {command} | 3 of 3 |" in log.read_text("utf-8")
