"""`wenlan table1`: its files, its bad inputs, and what a trained model must reach."""

import csv
import json
import signal

import numpy as np
import pytest
import torch
from helpers.brivl.tiny_folder import save_tiny_folder
from helpers.class_folders import NAMES, write_class_file, write_class_folders
from helpers.stopped_command import StoppedCommand
from PIL import Image
from transformers import pipeline
from typer.testing import CliRunner
from wenlan.data import load_emoji7
from wenlan.data.rows.report import TooManyBadRowsError
from wenlan.evaluation.tables.zero_shot import NOT_COMPARABLE
from wenlan.training_scripts.table1 import Table1Arguments, main, run

from wenlan.cli.main import app

IMAGES = 3  # of each class


def read_metrics(folder):
    return json.loads((folder / "metrics.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_tiny_folder(folder)
    return str(folder)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    images = write_class_folders(folder / "things", dict.fromkeys(NAMES, IMAGES))
    return {"images": str(images), "classes": str(write_class_file(folder / "classes.tsv"))}


@pytest.fixture(scope="module")
def made(model, inputs, tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("made")
    words = [word for name, value in inputs.items() for word in (f"--{name}", value)]
    assert main([model, *words, "--output_dir", str(folder)]) == folder
    return folder


def test_table_stands_beside_the_papers_and_is_marked(made, model):
    metrics, text = read_metrics(made), (made / "table1.md").read_text("utf-8")
    assert NOT_COMPARABLE in text
    assert (metrics["comparable"], metrics["mark"], metrics["seed"]) == (False, NOT_COMPARABLE, 0)
    assert metrics["model"] == model
    assert metrics["paper_reference"]["metrics"]["BriVL 1.0"] == [69.6, 88.9]
    assert metrics["data_sets"]["things"]["n"] == IMAGES * len(NAMES)
    rows = list(csv.DictReader((made / "table1.csv").read_text("utf-8").splitlines()))
    cells = {(row["group"], row["row"], row["column"]): row["value"] for row in rows}
    ensemble = metrics["data_sets"]["things"]["languages"]["zh"]["ensemble"]
    assert float(cells["things", "zh, ensemble", "top-1"]) == ensemble["top_1"]
    assert cells["", "CLIP", "top-5"] == "95.2"


def test_json_is_alone_on_stdout(made, model, inputs):
    words = [word for name, value in inputs.items() for word in (f"--{name}", value)]
    result = CliRunner().invoke(app, ["table1", model, *words, "--output_dir", str(made), "--resume", "--json"])
    assert json.loads(result.stdout) == read_metrics(made)
    assert "The table: " in result.stderr


def test_all_files_are_there(made):
    assert Image.open(made / "table1.png").width > 500
    assert Image.open(made / "classes.png").width > 300
    assert json.loads((made / "config.json").read_text("utf-8"))["synonyms"] == "max"
    for name, rows in {"predictions.csv": IMAGES * len(NAMES), "per_class.csv": 2 * len(NAMES)}.items():
        assert len((made / name).read_text("utf-8").splitlines()) == rows + 1
    first = (made / "confusions.csv").read_text("utf-8").splitlines()[0]
    assert first == "language,templates,class_id,name,predicted_id,predicted_name,images"


def test_same_seed_gives_the_same_metrics_but_for_the_time(made, model, inputs, tmp_path):
    again = run(Table1Arguments(model, **inputs, output_dir=str(tmp_path / "again")))
    assert again == read_metrics(tmp_path / "again")
    untimed = [{**metrics, "wall_seconds": None} for metrics in (again, read_metrics(made))]
    assert json.dumps(untimed[0]) == json.dumps(untimed[1])


def test_finished_run_is_kept_and_not_overwritten(made, model, inputs):
    shard = next((made / "rows").glob("*.parquet"))
    before = shard.stat().st_mtime_ns
    with pytest.raises(ValueError, match="holds a run: give --resume"):
        run(Table1Arguments(model, **inputs, output_dir=str(made)))
    run(Table1Arguments(model, **inputs, output_dir=str(made), resume=True))
    assert shard.stat().st_mtime_ns == before


def test_comparable_is_what_the_user_says(model, inputs, tmp_path):
    metrics = run(Table1Arguments(model, **inputs, output_dir=str(tmp_path), comparable=True, limit=6))
    assert (metrics["comparable"], metrics["mark"]) == (True, None)
    assert metrics["data_sets"]["things"]["n"] == 6


def test_suite_gives_a_row_a_data_set(model, inputs, tmp_path):
    entry = "- name: {}\n  images: {images}\n  classes: {classes}\n"
    (tmp_path / "suite.yaml").write_text("".join(entry.format(name, **inputs) for name in ("one", "two")), "utf-8")
    metrics = run(Table1Arguments(model, suite=str(tmp_path / "suite.yaml"), output_dir=str(tmp_path / "out")))
    assert list(metrics["data_sets"]) == ["one", "two"]
    assert "| two | **zh, {}** |" in (tmp_path / "out" / "table1.md").read_text("utf-8")
    for name in ("one", "two"):
        assert (tmp_path / "out" / name / "predictions.csv").is_file()


def test_two_classes_of_one_name_are_evaluated_and_the_first_wins(model, inputs, tmp_path):
    names = ["猫", "湖", "猫", "雪", "山", "苹果"]
    (tmp_path / "names.json").write_text(json.dumps(names), "utf-8")
    entry = f"- {{name: twice, images: {inputs['images']}, classes: {{json: names.json}}, repeated_names: keep}}"
    (tmp_path / "suite.yaml").write_text(entry, "utf-8")
    metrics = run(Table1Arguments(model, suite=str(tmp_path / "suite.yaml"), output_dir=str(tmp_path / "out")))
    assert metrics["data_sets"]["twice"]["languages"]["zh"]["classes_sharing_a_name"] == 2
    assert "- twice, zh: 2 of 6 classes share a name" in (tmp_path / "out" / "table1.md").read_text("utf-8")
    first, second = sorted(NAMES)[0], sorted(NAMES)[2]
    for row in csv.DictReader((tmp_path / "out" / "predictions.csv").read_text("utf-8").splitlines()):
        nearest = row["zh {} top_5"].split()
        assert nearest[nearest.index(first) + 1 :][:1] in ([second], [])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": ""}, "Give the folder or hub id of a BriVL first"),
        ({"images": None}, "Give --images"),
        ({"classes": None}, "Give --classes"),
        ({"images": "emoji7"}, "emoji7 has classes"),
        ({"suite": "suite.yaml"}, "A suite names images"),
        ({"columns": ["image"]}, "give two"),
        ({"languages": ["en"]}, "row 1: the name is blank"),
        ({"languages": ["xx"]}, "xx"),
        ({"device": "gpu"}, "The device 'gpu' cannot be used"),
    ],
)
def test_options_that_cannot_work_are_refused(model, inputs, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        run(Table1Arguments(**{"model": model, "output_dir": str(tmp_path / "out"), **inputs, **changes}))
    assert not (tmp_path / "out").exists()


def test_bad_inputs_end_in_one_line(model, inputs, tmp_path):
    extra = write_class_folders(tmp_path / "extra", {"cat": 1, "dog": 1})
    duplicate = write_class_file(tmp_path / "duplicate.tsv", {"cat": "猫", "apple": "猫"})
    (tmp_path / "templates.txt").write_text("照片", "utf-8")
    bad = {
        "has 1 labels that are no class ids of the list: 'dog'": {"images": str(extra)},
        "have one name, '猫'": {"classes": str(duplicate)},
        "has 0 places {} for the name": {"templates": str(tmp_path / "templates.txt")},
    }
    for message, changes in bad.items():
        words = [word for name, value in {**inputs, **changes}.items() for word in (f"--{name}", value)]
        result = CliRunner().invoke(app, ["table1", model, *words, "--output_dir", str(tmp_path / "out")])
        assert result.exit_code == 1
        assert message in result.output
        assert "Traceback" not in result.output


def test_classes_that_cannot_be_told_apart_by_top_5_have_none(model, tmp_path):
    images = write_class_folders(tmp_path / "four", dict.fromkeys(("cat", "apple", "lake", "snow"), 1))
    classes = write_class_file(tmp_path / "classes.tsv")
    metrics = run(Table1Arguments(model, str(images), str(classes), output_dir=str(tmp_path / "out")))
    facts = metrics["data_sets"]["four"]
    assert facts["classes_without_images"] == ["hill", "red"]
    assert facts["languages"]["zh"]["{}"]["top_5"] is None


def test_undecodable_images_stop_the_table(model, inputs, tmp_path):
    images = write_class_folders(tmp_path / "things", dict.fromkeys(NAMES, 2))
    for path in images.glob("cat/*"):
        path.write_bytes(b"damaged")
    with pytest.raises(TooManyBadRowsError, match="More than 1%"):
        run(Table1Arguments(model, str(images), inputs["classes"], output_dir=str(tmp_path / "out")))
    assert not (tmp_path / "out" / "metrics.json").exists()


@pytest.mark.slow
def test_killed_run_resumes_to_the_same_files(model, tmp_path):
    (tmp_path / "bare.txt").write_text("{}", "utf-8")
    words = ["table1", model, "--images", "emoji7", "--templates", tmp_path / "bare.txt", "--output_dir"]
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    command = StoppedCommand([*words, broken], lambda: list(broken.glob("rows/predictions-*.parquet")))
    assert command.stop(tmp_path / "log", signal.SIGKILL, more=2) == -signal.SIGKILL
    assert 2 <= len(command.shards()) < 5
    assert not (broken / "metrics.json").exists()
    main([str(word) for word in (*words[1:], broken, "--resume")])
    main([str(word) for word in (*words[1:], whole)])
    for name in ("predictions.csv", "per_class.csv", "confusions.csv", "table1.csv", "classes.png"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()
    one, other = (read_metrics(folder) for folder in (broken, whole))
    assert {**one, "wall_seconds": 0} == {**other, "wall_seconds": 0}


@pytest.mark.slow
def test_trained_model_knows_the_names_of_an_unseen_style(quickstart_folder, tmp_path):
    """48 concepts of the style that training never saw, as JPEG files."""
    names, number = {}, 48
    for row in load_emoji7()["test"].select(range(0, 1198, 1198 // number)).select(range(number)):
        names[row["concept"]] = row["name_zh"]
        (tmp_path / "root" / row["concept"]).mkdir(parents=True)
        white = Image.new("RGBA", row["image"].size, "white")
        path = tmp_path / "root" / row["concept"] / "fluent3d.jpg"
        Image.alpha_composite(white, row["image"]).convert("RGB").save(path, quality=95)
    options = {"images": str(tmp_path / "root"), "classes": str(write_class_file(tmp_path / "classes.tsv", names))}
    facts = run(Table1Arguments(str(quickstart_folder), **options, output_dir=str(tmp_path / "a")))["data_sets"]["root"]
    single = run(Table1Arguments(str(quickstart_folder), **options, output_dir=str(tmp_path / "b"), batch_size=1))
    for kind in ("{}", "ensemble"):
        metrics = facts["languages"]["zh"][kind]
        assert metrics["top_1"] >= 10 * metrics["chance_top_1"]
        assert metrics["top_5"] >= metrics["top_1"]
        assert metrics["permuted_top_1"] <= 3 * metrics["chance_top_1"]
        assert single["data_sets"]["root"]["languages"]["zh"][kind] == metrics
    rows = [list(csv.DictReader((tmp_path / one / "predictions.csv").read_text("utf-8").splitlines())) for one in "ab"]
    scores = [[float(row["zh {} score"]) for row in one] for one in rows]
    np.testing.assert_allclose(*scores, atol=1e-5)
    classify = pipeline("zero-shot-image-classification", model=str(quickstart_folder))
    for row in rows[0]:
        path = str(tmp_path / "root" / row["image"])
        best = classify(path, candidate_labels=list(names.values()), hypothesis_template="{}")[0]
        assert best["label"] == names[row["zh {} predicted"]]
