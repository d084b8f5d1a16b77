"""`wenlan attention`: its files, its bad inputs, and what is left of a run that was stopped."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from helpers.brivl.tiny_folder import save_tiny_folder
from helpers.mlmm.corpus_files import INFO, write_regions
from helpers.mlmm.folder import MLMMForPreTraining, noise_image, write_model
from helpers.mlmm.matching import class_features, matching_model
from helpers.regions.tiny_detector import tiny_detector
from PIL import Image
from typer.testing import CliRunner
from wenlan.analysis.region_attention.scenes import draw_scenes
from wenlan.data import LANGUAGES
from wenlan.processing import MLMMProcessor, load_small_tokenizer
from wenlan.training_scripts.figures import attention as script

from wenlan.cli.main import app

TEXTS = ["zh=图中有[猫]和[钥匙]。", "en=Picture of [cat] and [key].", "cs=Obrázek: [kočka] a [klíč]."]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A model with its detector, an image, and stored regions of an image of 64 x 48 pixels."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("files")
    write_model(folder / "mlmm", MLMMForPreTraining)
    noise_image().save(folder / "noise.png")
    width = tiny_detector().config.feature_dim
    info = INFO.__class__(**{**vars(INFO), "feature_dim": width})
    write_regions(folder / "regions", {"a.png": [0, 1, 2], "b.png": [1]}, info=info)
    return folder


def make(files, *words, output):
    return script.main([str(files / "mlmm"), *map(str, words), "--output_dir", str(output)])


def read(folder, name):
    return json.loads((folder / name).read_text("utf-8"))


@pytest.fixture(scope="module")
def made(files, tmp_path_factory):
    return make(files, "--image", files / "noise.png", "--texts", *TEXTS, output=tmp_path_factory.mktemp("made"))


def test_image_gives_a_figure_a_table_and_metrics(made):
    assert sorted(path.name for path in made.iterdir()) == [
        "attention.csv",
        "config.json",
        "figure6.png",
        "metrics.json",
        "similarity.json",
    ]
    metrics, similarity = read(made, "metrics.json"), read(made, "similarity.json")
    assert metrics["words"]["en"] == ["cat", "key"]
    assert (metrics["n"], metrics["layer"], metrics["heads"], metrics["comparable"]) == (1, -1, "mean", False)
    assert metrics["similarity"]["pairs"] == 3 * 2  # pairs of languages x pairs of words
    assert metrics["similarity"]["random_model"]["pairs"] == 6
    assert set(similarity["divergence"]) == {"zh-en", "zh-cs", "en-cs"}
    assert np.shape(similarity["divergence"]["zh-en"]["words"]) == (2, 2)
    with Image.open(made / "figure6.png") as figure:
        assert figure.width == 2 * (260 + 12) + 12


def test_weights_of_each_word_add_up_in_the_table(made):
    rows = list(csv.DictReader((made / "attention.csv").read_text("utf-8").splitlines()))
    sums = {}
    for row in rows:
        sums.setdefault((row["language"], row["word"]), []).append(float(row["weight"]))
        assert row["is_of_class"] == ""
    assert list(sums) == [
        ("zh", "猫"),
        ("zh", "钥匙"),
        ("en", "cat"),
        ("en", "key"),
        ("cs", "kočka"),
        ("cs", "klíč"),
    ]
    for weights in sums.values():
        assert len(weights) == read(made, "metrics.json")["regions"]
        assert sum(weights) == pytest.approx(1, abs=1e-5)


def test_same_seed_gives_the_same_metrics(files, made, tmp_path):
    again = make(files, "--image", files / "noise.png", "--texts", *TEXTS, output=tmp_path)
    one, other = (read(folder, "metrics.json") | {"wall_seconds": 0} for folder in (made, again))
    assert one == other
    assert (made / "attention.csv").read_bytes() == (again / "attention.csv").read_bytes()


@pytest.mark.parametrize("words", [["--rollout"], ["--layer", "0", "--heads", "2"], ["--heads", "max"]])
def test_stored_regions_other_layers_and_heads(files, made, tmp_path, words):
    folder = make(
        files, "--regions", files / "regions", "--image_id", "a.png", "--texts", *TEXTS, *words, output=tmp_path
    )
    metrics = read(folder, "metrics.json")
    assert metrics["regions"] == 3
    assert str(metrics["layer"]) == {"--rollout": "rollout", "--layer": "0", "--heads": "-1"}[words[0]]
    assert (folder / "figure6.png").is_file()


def test_sentence_without_marks_is_one_word(files, tmp_path):
    folder = make(files, "--image", files / "noise.png", "--texts", "en=a cat", "de=eine Katze", output=tmp_path)
    metrics = read(folder, "metrics.json")
    assert metrics["words"] == {"en": ["a cat"], "de": ["eine Katze"]}
    assert metrics["similarity"]["fraction"] is None


def test_language_outside_the_seven_is_warned_of(files, tmp_path, caplog):
    make(files, "--image", files / "noise.png", "--texts", "it=un [gatto]", output=tmp_path)
    assert "it is none of the languages of MLMM" in caplog.text


@pytest.fixture
def known_regions(monkeypatch):
    """As if a detector found the known boxes, with the classes as features."""
    drawn = {}

    def draw(count, **options):
        for scene in draw_scenes(count, **options):
            drawn[id(scene["image"])] = scene
            yield scene

    monkeypatch.setattr(script, "draw_scenes", draw)
    monkeypatch.setattr(script, "find_regions", lambda processor, image: class_features(drawn[id(image)]))


@pytest.fixture(scope="module")
def matching_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("matching") / "mlmm"
    processor = MLMMProcessor(load_small_tokenizer())
    matching_model(processor).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder.parent


def test_scenes_give_pointing_and_agreement_beside_their_controls(matching_folder, known_regions, tmp_path):
    folder = make(matching_folder, "--scenes", 12, output=tmp_path)
    metrics = read(folder, "metrics.json")
    assert set(metrics["pointing"]) == {*LANGUAGES, "all"}
    for row in metrics["pointing"].values():
        assert row["times_chance"] >= 2
        low, high = row["interval"]
        assert low <= row["accuracy"] <= high
        for control in ("random_model", "other_sentence"):
            assert row[control]["chance"] == row["chance"]
            assert row[control]["accuracy"] < row["accuracy"]
    assert metrics["similarity"]["fraction"] >= 0.8
    assert set(metrics["layers"]) == {"0", "rollout"}
    assert metrics["layers"]["0"]["pointing"] == metrics["pointing"]["all"]
    assert set(read(folder, "similarity.json")["divergence"]) >= {"zh-en", "ja-ko"}
    rows = list(csv.DictReader((folder / "attention.csv").read_text("utf-8").splitlines()))
    assert {row["is_of_class"] for row in rows} == {"0", "1"}
    assert len({row["image"] for row in rows}) == metrics["n"] == 12


def test_detector_that_finds_nothing_right_leaves_no_number_without_chance(files, tmp_path):
    folder = make(files, "--scenes", 10, "--languages", "zh", "en", output=tmp_path)
    pointing = read(folder, "metrics.json")["pointing"]
    assert pointing["all"]["words"] < 10
    assert (pointing["all"]["accuracy"] is None) == (pointing["all"]["chance"] is None)


def test_scenes_in_which_no_region_is_what_a_word_names_are_an_error(files, tmp_path, monkeypatch):
    nothing = {"boxes": torch.tensor([[0.0, 0, 1, 1], [1, 1, 2, 2]])}
    found = script.build_scene
    monkeypatch.setattr(script, "build_scene", lambda scene, regions, names: found(scene, nothing, names))
    with pytest.raises(ValueError, match="there is nothing to evaluate"):
        make(files, "--scenes", 10, "--languages", "zh", output=tmp_path / "a")
    assert not (tmp_path / "a" / "metrics.json").exists()


def test_a_stop_leaves_what_was_made(files, tmp_path, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(script, "evaluate_layer", stop)
    with pytest.raises(SystemExit) as stopped:
        make(files, "--scenes", 10, "--languages", "zh", "en", output=tmp_path / "a")
    assert stopped.value.code == 130
    left = {path.name for path in (tmp_path / "a").iterdir()}
    assert left == {"attention.csv", "config.json", "figure6.png", "similarity.json"}
    assert "what was made so far is in" in capsys.readouterr().err


def test_changed_weights_are_an_error(files, tmp_path, monkeypatch):
    hashes = iter("ab")
    monkeypatch.setattr(script, "hash_model", lambda model: next(hashes))
    with pytest.raises(RuntimeError, match="weights of the model changed"):
        make(files, "--image", files / "noise.png", "--texts", *TEXTS, output=tmp_path)


IMAGE = ["--image", "noise.png"]
STORED = ["--regions", "regions", "--image_id"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Give --texts with --image"),
        (["--scenes", "10", "--texts", *TEXTS], "Give --texts with --image"),
        (["--scenes", "10", *IMAGE], "Scenes have images and regions of their own"),
        (["--scenes", "9"], "scenes is 9"),
        (["--scenes", "10", "--languages", "it"], "Unknown language 'it'"),
        (["--texts", *TEXTS], "Give --image, or --regions"),
        ([*IMAGE, "--texts", "a cat"], "names no language"),
        ([*IMAGE, "--texts", "en=a cat", "en=a dog"], "two texts in en"),
        ([*IMAGE, "--texts", "en=a [cat] or [dog]", "de=eine [Katze]"], "as many words in each language"),
        ([*IMAGE, "--texts", "en=a [cat"], "has no partner"),
        ([*IMAGE, "--texts", f"en={'word ' * 70} [cat]"], "'cat' was cut off"),
        ([*IMAGE, "--texts", *TEXTS, "--layer", "7"], "no layer 7: the model has 2"),
        ([*IMAGE, "--texts", *TEXTS, "--layer", "1", "--rollout"], "leave --layer 1 out"),
        ([*IMAGE, "--texts", *TEXTS, "--heads", "3"], r"heads is 3; .* 0\.\.2"),
        ([*IMAGE, "--texts", *TEXTS, "--heads", "median"], "heads is 'median'"),
        (["--image", "none.png", "--texts", *TEXTS], "none.png"),
        ([*STORED, "c.png", "--texts", *TEXTS], "has no image 'c.png', but a.png, b.png"),
        (["--regions", "regions", "--texts", *TEXTS], "Give --image_id, one of the images"),
        ([*STORED, "a.png", "--image", "large.png", "--texts", *TEXTS], "the regions are of an image of"),
    ],
)
def test_bad_input_is_told_in_one_line(files, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(files)
    noise_image(width=128).save("large.png")
    with pytest.raises((ValueError, OSError), match=message):
        script.main(["mlmm", *words, "--output_dir", str(tmp_path / "out")])
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_model_that_is_no_mlmm_is_named(files, tmp_path):
    save_tiny_folder(tmp_path / "brivl")
    words = ["attention", str(tmp_path / "brivl"), "--scenes", "10", "--output_dir", str(tmp_path / "out")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert "holds a model of type 'brivl'; give one of type 'mlmm'" in result.stderr


def test_detector_that_is_not_there_is_named(files, tmp_path):
    shutil.copytree(files / "mlmm", tmp_path / "mlmm")
    words = ["--scenes", "10", "--detector", tmp_path / "none"]
    with pytest.raises(OSError, match="none"):
        make(tmp_path, *words, output=tmp_path / "out")
