"""What the commands of the figures share."""

import json
from dataclasses import dataclass

import pytest
from wenlan.training.figure_run import FigureArguments, figure_folder, run_figure
from wenlan.training.recipe_options import option


@dataclass
class Arguments(FigureArguments):
    """A figure."""

    model: str = option("", "of what")
    stop: bool = option(False, "as Ctrl-C does")


def run(options):
    with figure_folder(options) as (folder, metrics):
        (folder / "first.png").write_bytes(b"1")
        if options.stop:
            raise KeyboardInterrupt
        metrics["n"] = 3
    return metrics


def make(*words):
    return run_figure(Arguments, run, list(words), command="wenlan figure")


def test_metrics_and_options_are_written(tmp_path, capsys):
    folder = make("m", "--output_dir", str(tmp_path / "a"), "--seed", "7", "--json")
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    assert json.loads(capsys.readouterr().out) == metrics
    assert metrics["n"] == 3
    assert metrics["seed"] == 7
    assert metrics["comparable"] is False
    assert metrics["wall_seconds"] >= 0
    assert metrics["version"]
    assert json.loads((folder / "config.json").read_text("utf-8"))["model"] == "m"


def test_a_stop_leaves_what_was_made_and_the_next_run_goes_over_it(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        make("m", "--output_dir", str(tmp_path / "a"), "--stop")
    assert stopped.value.code == 130
    assert f"what was made so far is in {tmp_path / 'a'}" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["config.json", "first.png"]
    assert (make("m", "--output_dir", str(tmp_path / "a")) / "metrics.json").is_file()


def test_another_figure_is_not_written_over(tmp_path):
    make("m", "--output_dir", str(tmp_path / "a"))
    with pytest.raises(ValueError, match="holds the figure of another run"):
        make("m", "--output_dir", str(tmp_path / "a"))
