"""What a command prints of strangers' names and values cannot act on the terminal."""

import logging
import os
import subprocess
import sys

import numpy as np
import pytest
from helpers.paths import ENVIRONMENT
from typer.testing import CliRunner

from wenlan.cli.errors import print_safely
from wenlan.cli.main import app

HOSTILE = "\x1b]0;pwned\x07\x1b[2J"


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def assert_harmless(text):
    assert text
    assert all(line.isprintable() for line in text.replace("\t", "").split("\n"))


def test_error_shows_names_and_values_as_escapes(tmp_path):
    file = tmp_path / f"a{HOSTILE}.json"
    file.write_text("{")
    for words in (
        ("import-regions", tmp_path / HOSTILE, "--output", tmp_path / "out"),
        ("import-regions", tmp_path, "--output", tmp_path / "out", "--sizes", file),
        ("train-detector", tmp_path / f"{HOSTILE}.yaml"),
        ("train-detector", "detector_tiny", "--data", file, "--output_dir", tmp_path / "out"),
        ("convert", "regions", "--checkpoint", file, "--preset", "bua", "--output", tmp_path / "out"),
    ):
        result = run(*words)
        assert result.exit_code == 1
        assert_harmless(result.output)
        assert "\\x1b" in result.output


def test_report_of_a_command_shows_names_as_escapes(tmp_path):
    for name in ("a", f"{HOSTILE}", "b\udcff", "c\u202egpj"):
        with open(os.fsencode(tmp_path / f"{name}.npz"), "wb") as file:
            np.savez(file, x=np.zeros((0, 4)), bbox=np.zeros((1, 4)))
    result = run("import-regions", tmp_path, "--output", tmp_path / "out")
    assert result.exit_code == 1
    assert_harmless(result.output)


def test_logs_are_escaped_where_no_program_set_up_others(capsys):
    print_safely()
    record = logging.LogRecord("wenlan", logging.WARNING, "a.py", 1, "left out %s\nand %s", (HOSTILE, "\udcff"), None)
    assert logging.lastResort.format(record) == "left out \\x1b]0;pwned\\x07\\x1b[2J\nand \\udcff"


def test_wrong_value_in_a_configuration_is_one_line(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "wenlan_region_detector", "backbone": "local-dir:x"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "images").mkdir()
    result = run("extract-regions", tmp_path / "images", "--model", tmp_path, "--output", tmp_path / "out")
    assert result.exit_code == 1
    assert len(result.output.strip().split("\n")) == 1


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_text_that_the_terminal_cannot_encode_ends_nothing(encoding):
    code = "from wenlan.cli.errors import print_safely; print_safely(); print('\\udcff \\u732b')"
    environment = ENVIRONMENT | {"PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=True)
    assert b"\\udcff" in done.stdout
