"""The command on the demo's BriVL, which is compared with its own text tower, trained on texts alone."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModel
from typer.testing import CliRunner
from wenlan.pipelines.open_brivl import open_brivl
from wenlan.training.few_shot import further_training
from wenlan.training_scripts.figures import words as script
from wenlan.training_scripts.figures.words import main

from wenlan.cli.main import app

pytestmark = pytest.mark.slow  # the demo's BriVL is trained first

FURTHER, OTHER_SEED = "further trained on texts", "further trained, other seed"
ANTONYMS = "男人\t女人\n太阳\t月亮\n成功\t失败\n"


@pytest.fixture(scope="module")
def words(quickstart_folder, tmp_path_factory):
    """Options of a comparison of names of emoji7 in three spaces and a control."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("words")
    model, processor = open_brivl(quickstart_folder)
    torch.manual_seed(0)
    AutoModel.from_config(model.config.text_config.encoder_config).save_pretrained(root / "tower")
    processor.tokenizer.save_pretrained(root / "tower")
    (root / "words.txt").write_text("\n".join(["苹果", *further_training.emoji7_texts(["zh"])]), "utf-8")
    (root / "antonyms.tsv").write_text(ANTONYMS, "utf-8")
    options = {
        "text_encoder": root / "tower",
        "further_steps": 80,
        "languages": "zh",
        "vocabulary": root / "words.txt",
        "antonyms": root / "antonyms.tsv",
        "queries": 500,
        "cache": root / "cache",
    }
    return [str(quickstart_folder), *(str(word) for name, value in options.items() for word in (f"--{name}", value))]


@pytest.fixture(scope="module")
def made(words, tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("out") / "words"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(further_training, "RATE", 1e-3)  # the tower is random, not pre-trained
        return main([*words, "--other_seed", "--word", "苹果", "太阳", "--output_dir", str(folder)])


def read_metrics(folder):
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    del metrics["wall_seconds"]
    return metrics


def read_rows(path):
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


def test_images_change_neighbours_more_than_another_seed_of_texts_does(made):
    found = read_metrics(made)["jaccard"]
    assert found[f"encoder alone / {FURTHER}"]["plain"]["K=100"]["mean"] < 0.9  # texts change them, too
    for kind in ("plain", "centred"):
        images = found[f"{FURTHER} / quickstart"][kind]["K=100"]
        control = found[f"{FURTHER} / {OTHER_SEED}"][kind]["K=100"]
        assert images["chance"] < images["interval"][1] < control["interval"][0]


def test_names_of_one_super_class_that_are_drawn_alike_move_closer(made):
    found = read_metrics(made)["visual_similarity"]["seen"]["plain"]
    drop = found[f"{FURTHER} / quickstart"]["rank drop, drawn alike"]
    assert drop["n"] >= 100
    assert drop["interval"][0] > 0
    assert drop["p"] < 0.001
    gain = found[f"{FURTHER} / quickstart"]["correlation"]
    assert gain["interval"][0] > 0
    assert found["quickstart"]["mean"] > found["quickstart"]["permuted"]["interval"][1]


def test_controls_stand_where_they_must(made):
    metrics = read_metrics(made)
    controls = {name: one["K=100"] for name, one in metrics["controls"].items()}
    assert controls["itself"]["mean"] == 1
    assert controls["rotated"]["mean"] >= 0.999
    for name in ("random", "rows permuted"):
        assert controls[name]["mean"] == pytest.approx(controls[name]["chance"], rel=0.1)


def test_metrics_say_what_was_compared(made):
    metrics = read_metrics(made)
    names = ["encoder alone", FURTHER, "quickstart", OTHER_SEED]
    assert list(metrics["models"]) == names
    assert len({one["hash"] for one in metrics["models"].values()}) == 4
    listed = metrics["vocabulary"]
    assert listed["duplicates"] == 1  # 苹果
    words = listed["listed"] - sum(listed[name] for name in ("duplicates", "unknown tokens", "tokens of another word"))
    assert metrics["n"] == {"words": words, "queries": 500, "antonyms": 2}
    assert metrics["antonyms_left_out"] == 1
    ranks = metrics["antonyms"]["plain"]["ranks"]
    assert list(ranks) == names
    assert all(one["chance"] == words / 2 for one in ranks.values())
    compared = metrics["antonyms"]["plain"][f"{FURTHER} / quickstart"]
    assert compared["after"] == ranks["quickstart"]["median"]
    assert compared["log2_ratio_to_others"]["n"] == 2
    assert metrics["comparable"] is False
    assert metrics["paper_reference"]["words"] == 170_000


def test_figures_and_their_data_are_written(made):
    assert Image.open(made / "figure7.png").width > 800
    rows = read_rows(made / "jaccard.csv")
    assert len(rows) == 500
    mean = read_metrics(made)["jaccard"][f"{FURTHER} / quickstart"]["plain"]["K=100"]["mean"]
    assert np.mean([float(row[f"{FURTHER} / quickstart"]) for row in rows]) == pytest.approx(mean, abs=1e-4)
    listed = [row for row in read_rows(made / "least_and_most_similar.csv") if row["pair"] == f"{FURTHER} / quickstart"]
    assert [row["similar"] for row in listed] == ["least"] * 200 + ["most"] * 200
    values = [float(row["jaccard"]) for row in listed]
    assert max(values[:200]) <= min(values[200:])
    near = read_rows(made / "neighbours.csv")
    assert {(row["word"], row["space"]) for row in near} == {
        (word, space) for word in ("苹果", "太阳") for space in ("encoder alone", FURTHER, "quickstart")
    }
    assert len(near) == 2 * 3 * 30
    assert all(Image.open(made / f"graph_{word}.png").width > 1000 for word in ("苹果", "太阳"))


def test_same_command_gives_the_same_metrics_and_makes_no_vector_again(made, words, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "wenlan.analysis.word_neighbors.vectors.WordEncoder._embed", lambda *_: pytest.fail("embedded again")
    )
    options = ["--other_seed", "--word", "苹果", "太阳", "--output_dir", str(tmp_path / "again")]
    assert read_metrics(main([*words, *options])) == read_metrics(made)


def test_word_that_the_list_lacks_is_added(words, made, tmp_path):
    options = ["--word", "红星", "--k", "10", "20", "--queries", "50", "--output_dir", str(tmp_path / "out")]
    metrics = read_metrics(main([*words, *options]))
    assert metrics["vocabulary"]["added"] == 1
    assert list(metrics["jaccard"]["encoder alone / quickstart"]["plain"]) == ["K=10", "K=20"]
    assert (tmp_path / "out" / "graph_红星.png").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--word", "苹果", "🜚"], "🜚: not in the vocabulary, or left out since a tokenizer does not know"),
        (["--k", "0"], r"k is \[0\]; give numbers of neighbours"),
        (["--k", "500"], "words are too few for 500 neighbours"),
        (["--words", "0"], "words is 0; give a finite number from 1"),
        (["--vocabulary", "none.txt"], "There is no file none.txt; give a vocabulary"),
        (["--antonyms", "none.tsv"], "There is no file none.tsv; give pairs"),
        (["--pool", "max"], "pool"),
        (["--further_steps", "0", "--other_seed"], "other_seed trains the text encoder once more"),
    ],
)
def test_options_that_cannot_be_are_told(words, made, tmp_path, options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        main([*words, *options, "--output_dir", str(tmp_path / "out")])


@pytest.mark.parametrize("name", ["matplotlib", "networkx"])
def test_missing_package_is_told_with_its_remedy(words, tmp_path, monkeypatch, name):
    real = script.find_spec
    monkeypatch.setattr(script, "find_spec", lambda one: None if one == name else real(one))
    with pytest.raises(ImportError, match=rf"drawn with {name}: pip install 'wenlan\[demo,words\]'"):
        main([*words, "--output_dir", str(tmp_path / "out")])


def test_command_answers_mistakes_in_a_line(words, tmp_path):
    few = tmp_path / "few.txt"
    few.write_text("苹果\n梨\n", "utf-8")
    result = CliRunner().invoke(
        app, ["words", *words, "--vocabulary", str(few), "--json", "--output_dir", str(tmp_path / "out")]
    )
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "2 words are too few for 100 neighbours: give at least 1010" in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()
