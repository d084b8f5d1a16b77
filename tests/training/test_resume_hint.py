import sys
from pathlib import Path

import pytest
from wenlan.training.resume_hint import resume_hint


def test_interrupt_becomes_the_command_that_resumes(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/bin/wenlan", "embed", "a b"])
    for command, told in ((None, "wenlan embed 'a b'"), (["wenlan", "table1", "m"], "wenlan table1 m")):
        with pytest.raises(SystemExit) as stopped, resume_hint(Path("runs/out"), command):
            raise KeyboardInterrupt
        assert stopped.value.code == 130
        expected = f"Stopped; the finished parts are in runs/out. To resume: {told}\n"
        assert capsys.readouterr() == ("", expected)
