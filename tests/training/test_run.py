"""A run that breaks fails and leaves no model. A folder of another run is refused, with what differs."""

import json

import pytest
from kill_resume import write_inputs
from wenlan.training.run import REPORT, refuse_other_run
from wenlan.training_scripts.pretrain_brivl import main

WANTED = {"trained": {"languages": ["en"], "learning_rate": 0.1}}


def test_folder_without_a_report_and_one_of_the_same_run_pass(tmp_path):
    refuse_other_run(tmp_path, WANTED)
    (tmp_path / REPORT).write_text(json.dumps(WANTED | {"rows": 3}), "utf-8")
    refuse_other_run(tmp_path, WANTED)


def test_folder_of_another_run_is_refused_with_both_values(tmp_path):
    (tmp_path / REPORT).write_text(json.dumps({"trained": {"languages": ["de"], "learning_rate": 0.1}}), "utf-8")
    with pytest.raises(ValueError, match=r"was trained otherwise: .*'en'.*'de'|was trained otherwise: .*'de'.*'en'"):
        refuse_other_run(tmp_path, WANTED)


@pytest.mark.parametrize(("text", "message"), [("[1]", "holds no report"), ('{"trained": {', "is no JSON")])
def test_damaged_report_is_named(text, message, tmp_path):
    (tmp_path / REPORT).write_text(text, "utf-8")
    with pytest.raises(ValueError, match=message):
        refuse_other_run(tmp_path, WANTED)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--learning_rate", "1e38", r"After step \d+, .* are not finite"),
        ("--learning_rate", "1e10", r"diverged: after step 3 the largest weight is|3 steps were dropped"),
        ("--adam_epsilon", "0", r"After step \d+, .* are not finite"),
    ],
)
def test_run_that_breaks_before_anything_is_saved_or_logged_fails_without_a_model(
    tmp_path, capsys, option, value, message
):
    output = tmp_path / "run"
    length = ["--max_steps", "3", "--save_steps", "100", "--logging_steps", "100"]
    with pytest.raises(ValueError, match=message):
        main([str(write_inputs(tmp_path)), "--output_dir", str(output), *length, option, value])
    assert "The model is in" not in capsys.readouterr().out
    assert [path.name for path in output.iterdir()] == [REPORT]
