"""Options of a script without a recipe."""

import json
from dataclasses import asdict, dataclass
from typing import Literal

import pytest
from wenlan.training.recipe_options import option
from wenlan.training.script_options import only_json, parse_options, run_script


@dataclass
class Options:
    """What is done."""

    model: str = option("", "of what")
    images: str | None = option(None, "some")
    languages: list[str] = option(["zh"], "of the names")
    kind: Literal["a", "b"] = option("a", "which")
    batch_size: int = option(32, "at a time", low=1)
    output_dir: str = option("runs/do", "for all files")
    resume: bool = option(False, "go on")
    json: bool = option(False, "print metrics")


def parse(*words):
    return parse_options(Options, list(words), command="wenlan do")


def test_model_comes_first_and_the_others_by_name():
    found = parse("m", "--batch-size", "8", "--languages", "zh", "en", "--resume", "--kind=b")
    assert found == Options("m", None, ["zh", "en"], "b", 8, resume=True)
    assert parse("--images", "x") == Options(images="x")
    assert parse() == Options()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["m", "--imges", "x"], r"Unknown options: --imges \(did you mean --images\?\)"),
        (["m", "--batch_size", "0"], "batch_size is 0; give a finite number from 1"),
        (["m", "--batch_size", "many"], "batch_size is 'many'; give a whole number"),
        (["m", "--kind", "c"], "kind is 'c'; give a, b"),
        (["m", "n"], "Unknown options: n"),
    ],
)
def test_bad_options_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        parse(*words)


def test_metrics_alone_are_on_stdout(capsys):
    for wanted in (True, False):
        with only_json(wanted) as metrics:
            print("progress")
            metrics |= {"名": [0.1, None]}
        out, err = capsys.readouterr()
        assert (
            (out, err) == ('{\n "\\u540d": [\n  0.1,\n  null\n ]\n}\n', "progress\n") if wanted else ("progress\n", "")
        )


def test_script_returns_its_folder_and_names_the_command_that_resumes(capsys):
    def interrupt(options):
        raise KeyboardInterrupt

    assert str(run_script(Options, lambda options: {"kind": options.kind}, ["m", "--json"], command="do")) == "runs/do"
    assert capsys.readouterr() == ('{\n "kind": "a"\n}\n', "")
    for words in (["m", "--images", "a b", "--json"], ["m", "--output_dir", "out", "--resume"]):
        with pytest.raises(SystemExit) as stopped:
            run_script(Options, interrupt, words, command="wenlan do")
        assert stopped.value.code == 130
    out, err = capsys.readouterr()
    first, second = err.splitlines()
    assert first.endswith("are in runs/do. To resume: wenlan do m --images 'a b' --json --resume")
    assert second.endswith("are in out. To resume: wenlan do m --output_dir out --resume")
    assert out == ""


def test_help_names_the_command_and_all_options(capsys):
    with pytest.raises(SystemExit) as stopped:
        parse("--help")
    text = capsys.readouterr().out
    assert stopped.value.code == 0
    assert "wenlan do MODEL [--FIELD VALUE ...]" in text
    assert "RECIPE" not in text
    assert "at a time (default: 32)" in text


def test_fields_come_from_a_file_and_the_command_line_comes_first(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(asdict(Options("m", "x", ["de"], "b", 8))), "utf-8")
    assert parse("--config", str(file), "--batch_size", "4") == Options("m", "x", ["de"], "b", 4)
    assert parse("other", f"--config={file}").model == "other"


def test_bad_fields_of_a_file_are_refused(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("imges: x\nbatch_size: 0\n", "utf-8")
    with pytest.raises(ValueError, match=r"Unknown fields in .*: imges \(did you mean images\?\)\. batch_size is 0"):
        parse("m", "--config", str(file))
    with pytest.raises(FileNotFoundError, match=r"There is no file .*missing\.yaml; give the config"):
        parse("m", "--config", str(tmp_path / "missing.yaml"))
