import csv
import json
from pathlib import Path

import pytest
import torch
from helpers.finetuning.vqa_sample import TRAIN, VAL, write_questions, write_things
from helpers.training import recipes
from helpers.training.recipes import write_recipe
from PIL import Image
from typer.testing import CliRunner
from wenlan.data.files.lock import output_lock
from wenlan.evaluation.tables.paper import NOT_COMPARABLE
from wenlan.training_scripts.reproduce_table4 import main

from wenlan.cli.main import app

SMOKE = [*recipes.SMOKE, "--per_device_train_batch_size", "4", "--max_steps", "2"]


def read_metrics(folder):
    return json.loads((folder / "metrics.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    torch.set_num_threads(1)
    return write_things(tmp_path_factory.mktemp("things"), {TRAIN: range(12), VAL: range(12, 20)})


@pytest.fixture(scope="module")
def recipe(fields, tmp_path_factory):
    return write_recipe(tmp_path_factory.mktemp("recipes") / "things.yaml", "vqa_tiny", **fields)


@pytest.fixture(scope="module")
def made(recipe, tmp_path_factory):
    torch.set_num_threads(1)
    return main([recipe, *SMOKE, "--output_dir", str(tmp_path_factory.mktemp("out"))])


def test_table_has_the_rows_of_the_paper_and_each_kind_of_question_with_its_controls(made):
    rows = list(csv.DictReader((made / "table4.csv").read_text("utf-8").splitlines()))
    cells = {(row["data_set"], row["column"], row["row"]): row["value"] for row in rows}
    assert cells["VQA VG Japanese", "ja", "MLMM"] == "35.4"
    assert cells["things, en", "questions", "what is"] == "8"
    english = read_metrics(made / "model")["languages"]["en"]
    for column, key in {"accuracy": "accuracy", "question only": "question_only", "majority": "majority"}.items():
        assert float(cells["things, en", column, "all questions"]) == english[key]
        assert float(cells["things, en", column, "what is"]) == english["question_types"]["what is"][key]


def test_table_is_marked_and_says_of_what_it_is(made, fields):
    text, metrics = (made / "table4.md").read_text("utf-8"), read_metrics(made)
    assert NOT_COMPARABLE in text
    assert metrics["comparable"] is False
    assert metrics["mark"] == NOT_COMPARABLE
    assert metrics["seeds"] == [0]
    assert metrics["n"] == {"things": {"en": 8}}
    assert metrics["model"] == {"things": fields["init_from"]}
    assert metrics["paper_reference"]["metrics"]["MLMM"] == [73.21, 35.4]
    assert Image.open(made / "table4.png").width > 500


def test_finished_run_is_not_made_again(made, recipe, capsys):
    paths = [made / "model" / "metrics.json", made / "model" / "question_only" / "metrics.json"]
    times = [path.stat().st_mtime_ns for path in paths]
    before = (made / "table4.md").read_text("utf-8")
    main([recipe, *SMOKE, "--output_dir", str(made), "--resume"])
    assert "is done already" in capsys.readouterr().out
    assert [path.stat().st_mtime_ns for path in paths] == times
    assert (made / "table4.md").read_text("utf-8") == before


def test_table_that_another_process_makes_is_left_alone(recipe, tmp_path):
    with output_lock(tmp_path / "out"), pytest.raises(ValueError, match="is writing into"):
        main([recipe, *SMOKE, "--output_dir", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_named_test_set_stands_in_the_column_of_the_paper(made, recipe):
    options = ["--output_dir", str(made), "--resume", "--test_sets", "VQA 2.0 test-dev", "--comparable"]
    text = (main([recipe, *SMOKE, *options]) / "table4.md").read_text("utf-8")
    accuracy = read_metrics(made / "model")["languages"]["en"]["accuracy"]
    assert f"|  | **wenlan** | **{accuracy:.2f}** | – |" in text
    assert "not comparable" not in text


@pytest.mark.slow
def test_two_recipes_have_folders_and_parts_of_their_own(recipe, fields, tmp_path):
    other = write_recipe(tmp_path / "again.yaml", "vqa_tiny", **fields)
    folder = main([recipe, other, *SMOKE, "--output_dir", str(tmp_path)])
    assert (folder / "things" / "model" / "metrics.json").is_file()
    assert (folder / "again" / "model" / "metrics.json").is_file()
    text = (folder / "table4.md").read_text("utf-8")
    assert "things, en<br>questions" in text
    assert "again, en<br>questions" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"questions": []}, "no questions to train on"),
        ({"test_questions": []}, "has no test_questions"),
        ({"test_questions": ["/no/such.json"]}, "no such file: /no/such.json"),
    ],
)
def test_questions_that_are_not_there_are_named(fields, tmp_path, changes, message):
    recipe = write_recipe(tmp_path / "r.yaml", "vqa_tiny", **fields | changes)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        main([recipe, *SMOKE, "--output_dir", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_questions_of_the_test_server_alone_make_no_table(fields, tmp_path):
    path = write_questions(tmp_path, "test2015", range(12, 20), annotated=False)
    recipe = write_recipe(tmp_path / "r.yaml", "vqa_tiny", **fields | {"test_questions": [path]})
    with pytest.raises(ValueError, match="no test questions have annotations"):
        main([recipe, *SMOKE, "--output_dir", str(tmp_path / "out")])


def test_command_answers_mistakes_in_a_line(recipe, tmp_path):
    result = CliRunner().invoke(app, ["table4", recipe, "--with_control", "false", "--output_dir", str(tmp_path)])
    assert result.exit_code == 1
    assert "--with_control is set by table4 itself" in result.output
    assert "Traceback" not in result.output
    assert list(Path(tmp_path).iterdir()) == []
