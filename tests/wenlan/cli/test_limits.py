"""Numbers that cannot be are refused by every command before it opens anything."""

import pytest
from typer.testing import CliRunner

from wenlan.cli.main import app


@pytest.mark.parametrize(
    ("command", "option", "values"),
    [
        ("embed none none --output o", "--batch-size", ["0", "-1", "nan", "viele"]),
        ("embed none none --output o", "--max-bad-fraction", ["-0.1", "1.5", "nan", "inf"]),
        ("embed none none --output o", "--shard-size", ["0"]),
        ("answer none none --question q", "--top-k", ["0"]),
        ("draw-regions none none --output o", "--threshold", ["nan", "2"]),
        ("extract-regions none --output o --model none", "--max-boxes", ["0"]),
        ("extract-regions none --output o --model none", "--min-boxes", ["-1"]),
        ("extract-regions none --output o --model none", "--batch-size", ["0"]),
        ("extract-regions none --output o --model none", "--num-workers", ["-1"]),
        ("extract-regions none --output o --model none", "--shard-size", ["0"]),
        ("extract-regions none --output o --model none", "--max-bad-fraction", ["nan"]),
        ("import-regions none --output o", "--top-k", ["0"]),
        ("translate-captions none --output o --model none", "--batch-tokens", ["0"]),
        ("translate-captions none --output o --model none", "--max-filtered-fraction", ["nan", "-1"]),
        ("evaluate none --data none", "--max-bad-fraction", ["nan", "2"]),
        ("data scenes --output o", "--canvas", ["0"]),
        ("data clean none --output o", "--workers", ["0"]),
        ("quickstart", "--max-steps", ["0", "viele"]),
    ],
)
def test_number_that_cannot_be_is_refused_by_name(command, option, values):
    for value in values:
        result = CliRunner().invoke(app, [*command.split(), option, value])
        assert result.exit_code == 2, result.output
        assert f"Invalid value for '{option}'" in result.output
        assert len(result.output.splitlines()) < 9
