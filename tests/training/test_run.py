"""A folder that was trained otherwise is refused, with what differs; a damaged report of it is named."""

import json

import pytest
from wenlan.training.run import REPORT, refuse_other_run

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
