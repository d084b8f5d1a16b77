import csv
import json

import pytest
import torch
import yaml
from helpers.finetuning.retrieval_models import save_pretrained_mlmm
from helpers.mlmm.corpus_files import write_corpus
from helpers.training.recipes import SMOKE, write_recipe
from PIL import Image
from typer.testing import CliRunner
from wenlan.data.files.lock import output_lock
from wenlan.evaluation.tables.paper import NOT_COMPARABLE
from wenlan.training_scripts.reproduce_table3 import main

from wenlan.cli.main import app

STEPS = ["--max_steps", "2", "--eval_strategy", "no", "--load_best_model_at_end", "false"]


def write_paths(folder, languages=("en", "zh")):
    found = {}
    for prefix, count, first in (("", 16, 0), ("validation_", 4, 100), ("test_", 6, 200)):
        regions, captions = write_corpus(folder / f"{prefix}corpus", count, first=first, languages=languages)
        found |= {f"{prefix}regions": regions, f"{prefix}captions": captions}
    return found


def read_metrics(folder):
    return json.loads((folder / "metrics.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table3")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return write_paths(folder) | {"init_from": save_pretrained_mlmm(folder / "model")}


@pytest.fixture(scope="module")
def recipe(fields, tmp_path_factory):
    path = tmp_path_factory.mktemp("recipes") / "coco.yaml"
    return write_recipe(path, "retrieval_tiny", **fields, per_device_train_batch_size=4)


@pytest.fixture(scope="module")
def made(recipe, tmp_path_factory):
    """The folder of a table of all settings, in the paper's columns of MSCOCO."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("out")
    return main([recipe, *SMOKE, *STEPS, "--test_sets", "MSCOCO", "--output_dir", str(folder)])


def test_table_has_a_run_of_each_setting_and_the_rows_of_the_paper(made):
    assert {path.parent.name for path in made.glob("*/metrics.json")} == {"en", "each", "all"}
    rows = list(csv.DictReader((made / "table3.csv").read_text("utf-8").splitlines()))
    theirs = [row["value"] for row in rows if row["group"] == "Each" and row["row"] == "MLMM"]
    assert theirs == ["91.9", "88.1", "85.3", "83.8", "90.6", "89.0", "90.9"]
    ours = {(row["group"], row["column"]): row["value"] for row in rows if row["row"] == "wenlan"}
    assert set(ours) == {(group, language) for group in ("En", "Each", "All") for language in ("en", "zh")}
    assert float(ours["Each", "zh"]) == read_metrics(made / "each")["recalls"]["zh"]["mean_recall"]


def test_every_figure_of_ours_has_its_chance_and_the_run_without_regions_stands_below(made):
    rows = list(csv.DictReader((made / "table3.csv").read_text("utf-8").splitlines()))
    cells = {(row["group"], row["row"], row["column"]) for row in rows if row["kind"] != "paper"}
    for group in ("En", "Each", "All"):
        assert {(group, "chance", language) for language in ("en", "zh")} <= cells
    assert ("All", "regions zeroed", "en") in cells
    assert ("Each", "regions zeroed", "zh") in cells


def test_table_is_marked_and_says_of_what_it_is(made):
    text, metrics = (made / "table3.md").read_text("utf-8"), read_metrics(made)
    assert NOT_COMPARABLE in text
    assert "MSCOCO: no metrics of ours in ja." in text
    assert metrics["comparable"] is False
    assert metrics["mark"] == NOT_COMPARABLE
    assert metrics["seeds"] == [0]
    assert metrics["n"] == {"MSCOCO": {"images": {"en": 6, "zh": 6}, "captions": {"en": 6, "zh": 6}}}
    assert metrics["paper_reference"]["metrics"]["all"]["UC2"][0] == 88.2
    assert set(metrics["results"]["MSCOCO"]) == {"en", "each", "all"}
    assert Image.open(made / "table3.png").width > 500


def test_finished_settings_are_not_run_again_and_missing_ones_are(made, recipe, capsys):
    before = read_metrics(made)
    times = {path: path.stat().st_mtime_ns for path in made.glob("*/metrics.json")}
    (made / "all" / "metrics.json").unlink()
    main([recipe, *SMOKE, *STEPS, "--test_sets", "MSCOCO", "--output_dir", str(made), "--resume"])
    printed = capsys.readouterr().out
    assert printed.count("is done already") == 2
    assert f"{made / 'all'} is trained already." in printed
    for setting in ("en", "each"):
        path = made / setting / "metrics.json"
        assert path.stat().st_mtime_ns == times[path]
    found = read_metrics(made)["results"]["MSCOCO"]
    for setting, metrics in before["results"]["MSCOCO"].items():
        assert {**found[setting], "wall_seconds": 0} == {**metrics, "wall_seconds": 0}


def test_table_that_another_process_makes_is_left_alone(recipe, tmp_path):
    with output_lock(tmp_path / "out"), pytest.raises(ValueError, match="is writing into"):
        main([recipe, *SMOKE, "--output_dir", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_finished_table_is_not_overwritten_without_being_told(made, recipe):
    with pytest.raises(ValueError, match="holds a finished run: give --resume"):
        main([recipe, *SMOKE, *STEPS, "--output_dir", str(made)])


@pytest.mark.slow
def test_two_recipes_share_the_columns_of_the_paper(recipe, fields, tmp_path):
    other = write_recipe(tmp_path / "m30k.yaml", "retrieval_tiny", **fields, per_device_train_batch_size=4)
    options = ["--test_sets", "MSCOCO", "Multi30K", "--settings", "en", "--comparable", "--output_dir", str(tmp_path)]
    folder = main([recipe, other, *SMOKE, *STEPS, *options])
    assert (folder / "coco" / "en" / "metrics.json").is_file()
    assert (folder / "m30k" / "en" / "metrics.json").is_file()
    text = (folder / "table3.md").read_text("utf-8")
    assert "not comparable" not in text
    assert read_metrics(folder)["comparable"] is True
    line = next(line for line in text.splitlines() if "**wenlan**" in line)
    assert (
        len([cell for cell in line.split("|") if "**" in cell]) == 1 + 4
    )  # en and zh of both; zh is no column of M30K


def test_recipe_without_english_says_so_before_anything_is_trained(fields, tmp_path):
    paths = write_paths(tmp_path, languages=("zh",)) | {"init_from": fields["init_from"]}
    recipe = write_recipe(tmp_path / "chinese.yaml", "retrieval_tiny", **paths)
    with pytest.raises(
        ValueError, match=r"chinese\.yaml, setting en: There are no training captions in en.*--settings"
    ):
        main([recipe, *SMOKE, *STEPS, "--output_dir", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_recipe_whose_test_lacks_a_language_says_so_before_anything_is_trained(fields, tmp_path):
    regions, captions = write_corpus(tmp_path / "test", 6, first=200, languages=("en",))
    recipe = write_recipe(
        tmp_path / "r.yaml", "retrieval_tiny", **fields | {"test_regions": regions, "test_captions": captions}
    )
    with pytest.raises(ValueError, match="setting each: There are no test captions in zh"):
        main([recipe, *SMOKE, *STEPS, "--output_dir", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_captions_that_are_not_there_are_named_with_what_makes_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"runs/scenes/test holds no captions_.*wenlan data scenes"):
        main([])


def test_recipe_without_a_test_is_refused(fields, tmp_path):
    changes = {"test_captions": None, "test_regions": None}
    recipe = write_recipe(tmp_path / "r.yaml", "retrieval_tiny", **fields | changes)
    with pytest.raises(ValueError, match="has no test_captions"):
        main([recipe, *SMOKE, *STEPS, "--output_dir", str(tmp_path / "out")])


def test_command_hands_options_on_and_answers_mistakes_in_a_line(recipe, tmp_path):
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({"no_such_field": 1}), "utf-8")
    for argv, message in (
        ([str(tmp_path / "r.yaml")], "no_such_field"),
        ([recipe, "--setting", "en"], "--setting is set by table3 itself"),
        ([recipe, *SMOKE, "--init_from", "", "--output_dir", str(tmp_path)], "init_from is missing"),
    ):
        result = CliRunner().invoke(app, ["table3", *argv])
        assert result.exit_code == 1
        assert message in result.output
        assert "Traceback" not in result.output
