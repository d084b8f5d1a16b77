"""The command that makes figure 4: its files, its bad inputs, what a stop leaves; and whether images show their texts.

Calibration by `python benchmarks/paper/figure4.py`: five towers that learned sixteen drawings from nothing, three
seeds each (chance 0.06 and 0.31). Independent classifier (0.81 to 0.94 on the unseen style), top-1 robust 0.56 0.62
0.58 0.44 0.52, top-5 0.90 to 0.94, paper 0.17 0.46 0.27 0.25 0.42, permuted 0.44 to 0.62 (the original texts 0.00 to
0.02), random tower 0.04 to 0.15; own top-1 robust 0.92 to 1.00; nearest training image 0.09 to 0.15. So the bars that
were proposed are kept; one of them, 0.15 above the paper's mode, is missed by one tower of five (0.10).

On the BriVL of `wenlan quickstart`, whose backbone comes from ImageNet and is frozen (the gallery's command, seed 0),
the tower's own top-1 is 0.94 (paper 1.00, permuted 1.00 and 0.00, random tower 0.06), but the classifier stays near
chance: top-1 robust 0.13, paper 0.06, permuted 0.06, random tower 0.06; top-5 0.44, 0.25, 0.50, 0.19. An earlier
setting without weaker colours, seeds 0 to 3, had 0.06 0.06 0.06 0.13 and own 0.94 0.75 0.94 0.88. The images have
outlines and textures in arbitrary colours.
"""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.brivl.drawing_tower import NAMES, missed_bars, train_drawing_tower
from helpers.brivl.tiny_folder import save_tiny_folder
from PIL import Image
from typer.testing import CliRunner
from wenlan.analysis.neurons.evaluate import (
    find_concepts,
    hits,
    nearest_training_distances,
    random_tower,
    rank_by_embedding,
)
from wenlan.analysis.neurons.image_embedding import ImageEmbedder
from wenlan.analysis.neurons.optimization import to_pil_images
from wenlan.data import load_emoji7
from wenlan.training.figures import evaluate_images
from wenlan.training.figures.image_files import ImageFiles
from wenlan.training_scripts.figures.visualize import VisualizeArguments, main, run

from wenlan.cli.main import app

TEXTS = ["一只猫", "雪山和湖", "红色的苹果", "猫", "雪"]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_tiny_folder(folder)
    return str(folder)


@pytest.fixture
def options(model_folder, tmp_path):
    """Makes options of a run of a few steps."""

    def make(**changes):
        common = {"model": model_folder, "output_dir": str(tmp_path / "figure"), "steps": 3, "copies": 2, "size": 64}
        return VisualizeArguments(**({"texts": TEXTS[:2]} | common | changes))

    return make


def test_run_writes_images_animations_trace_figure_and_metrics(options, tmp_path):
    metrics = run(options(seeds=2, seed=4))
    folder = tmp_path / "figure"
    images = ["00_一只猫_4.png", "00_一只猫_5.png", "01_雪山和湖_4.png", "01_雪山和湖_5.png", "figure4.png"]
    assert sorted(path.name for path in folder.glob("*.png")) == images
    assert Image.open(folder / images[0]).size == (64, 64)
    for stem in ("00_一只猫", "01_雪山和湖"):
        with Image.open(folder / f"{stem}_progress.gif") as animation:
            assert animation.n_frames > 1
    with (folder / "trace.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["text"], row["seed"], row["step"]) for row in rows[:3]] == [
        ("一只猫", "4", "0"),
        ("雪山和湖", "4", "0"),
        ("一只猫", "4", "1"),
    ]
    assert len(rows) == 2 * 2 * 3
    assert json.loads((folder / "metrics.json").read_text("utf-8")) == metrics
    found = metrics["images"]["robust"]
    assert found["n"] == 4
    assert len(found["own_top_1_interval"]) == 2
    assert metrics["images"]["chance"]["chance_top_1"] == 0.5


def test_same_seed_gives_equal_metrics_but_for_the_time(options, tmp_path):
    written = []
    for number in range(2):
        run(options(output_dir=str(tmp_path / str(number)), texts=TEXTS, controls=True, steps=2))
        text = (tmp_path / str(number) / "metrics.json").read_text("utf-8")
        written.append([line for line in text.splitlines() if "wall_seconds" not in line])
    assert written[0] == written[1]
    metrics = json.loads((tmp_path / "0" / "metrics.json").read_text("utf-8"))
    assert list(metrics["images"]) == ["robust", "paper", "permuted", "random_tower", "chance"]
    assert metrics["concepts"] is None  # these texts name no drawing, so there is no classifier
    assert "own_original_top_1" in metrics["images"]["permuted"]
    assert metrics["images"]["robust"]["nearest_training_distance"] > 0.05


@pytest.mark.parametrize("changes", [{"param": "fourier"}, {"mode": "paper"}, {"neuron": 3}, {"image": "red.png"}])
def test_other_ways_and_targets(options, tmp_path, changes):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    if "image" in changes:
        changes = {"image": str(tmp_path / "red.png")}
    texts = [] if changes.keys() & {"image", "neuron"} else TEXTS[:2]
    metrics = run(options(texts=texts, **changes))
    name = {"image": "00_red_png_0.png", "neuron": "00_neuron_3_0.png"}.get(next(iter(changes)), "00_一只猫_0.png")
    assert (tmp_path / "figure" / name).exists()
    assert metrics["images"][changes.get("mode", "robust")]["n"] == max(len(texts), 1)


def test_texts_of_a_file_one_a_line(options, tmp_path):
    (tmp_path / "poem.txt").write_text("猫\n\n  雪山和湖 \n", "utf-8")
    assert run(options(texts=[], file=str(tmp_path / "poem.txt")))["texts"] == ["猫", "雪山和湖"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": ""}, "Give the folder or hub id of a BriVL first"),
        ({"texts": []}, "Give one of --texts, --file, --image and --neuron"),
        ({"neuron": 1}, "Give one of --texts"),
        ({"texts": ["猫", " "]}, "A part of the text ' ' is empty"),
        ({"texts": ["猫", "xyz"]}, "knows no token of 'xyz'"),
        ({"texts": ["猫", "猫"]}, "A text is given twice"),
        ({"size": 100}, "size is 100; the image tower reads 72"),
        ({"texts": [], "neuron": 24}, "There is no neuron 24"),
        ({"controls": True}, "There are 2 texts; controls permute them: give 5 or more"),
        ({"texts": [], "file": "empty.txt"}, "has no text; write one a line"),
    ],
)
def test_bad_input_is_refused_in_a_line_before_anything_is_written(options, tmp_path, changes, message):
    (tmp_path / "empty.txt").write_text("\n \n", "utf-8")
    if "file" in changes:
        changes = {**changes, "file": str(tmp_path / "empty.txt")}
    with pytest.raises(ValueError, match=message):
        run(options(**changes))
    assert not (tmp_path / "figure" / "metrics.json").exists()


def test_missing_file_and_folder_of_another_run_are_refused(options, tmp_path):
    with pytest.raises(FileNotFoundError, match="poem"):
        run(options(texts=[], file=str(tmp_path / "poem.txt")))
    run(options(steps=1))
    with pytest.raises(ValueError, match="holds the figure of another run"):
        run(options())


def test_loss_that_is_not_finite_ends_with_exit_code_3_and_the_last_good_image(model_folder, tmp_path):
    command = ["visualize", model_folder, "--texts", "猫", "--param", "fourier", "--learning_rate", "3e37"]
    result = CliRunner().invoke(app, [*command, "--output_dir", str(tmp_path / "figure")])
    assert result.exit_code == 3
    assert "the loss is not finite; the last good images are in" in result.output
    assert np.ptp(np.asarray(Image.open(tmp_path / "figure" / "00_猫_0.png"))) > 0
    assert (tmp_path / "figure" / "figure4.png").exists()
    assert not (tmp_path / "figure" / "metrics.json").exists()


def test_control_whose_loss_is_not_finite_ends_the_run_with_3_and_no_metrics(options, tmp_path, monkeypatch, capsys):
    original = VisualizeArguments.visualize

    def breaks(self, embed, targets, *, mode, seed):
        found = original(self, embed, targets, mode=mode, seed=seed)
        return replace(found, stopped="non-finite") if mode == "paper" else found

    monkeypatch.setattr(VisualizeArguments, "visualize", breaks)
    with pytest.raises(SystemExit) as stopped:
        run(options(texts=TEXTS, controls=True, steps=1))
    assert stopped.value.code == 3
    assert "not finite in the control paper" in capsys.readouterr().err
    assert not (tmp_path / "figure" / "metrics.json").exists()
    assert (tmp_path / "figure" / "figure4.png").exists()


def test_drawings_that_no_classifier_can_tell_apart_are_refused_before_any_image(options, tmp_path, monkeypatch):
    def refuse(concepts, **_):
        raise ValueError("it cannot evaluate these 5 concepts")

    monkeypatch.setattr(evaluate_images, "find_concepts", lambda texts: list(range(len(texts))))
    monkeypatch.setattr(evaluate_images, "train_classifier", refuse)
    with pytest.raises(ValueError, match="cannot evaluate"):
        run(options(texts=TEXTS, controls=True))
    assert list((tmp_path / "figure").glob("*.png")) == []


def test_text_without_a_font_is_shown_by_its_number(options, tmp_path, only_pillow, caplog):
    run(options(steps=1))
    assert "'01' stands for '雪山和湖' in the image" in caplog.text
    assert (tmp_path / "figure" / "figure4.png").exists()


def test_figure_of_very_many_images_shows_the_first(tmp_path):
    files = ImageFiles(tmp_path, "figure4.png", "many", ["a"], to_pil_images)
    files.draw([("a", Image.new("RGB", (8, 8)))] * 1000)
    with Image.open(tmp_path / "figure4.png") as figure:
        assert figure.height < 30_000


def test_ctrl_c_leaves_what_was_made(options, tmp_path, monkeypatch, capsys):
    calls = []

    def interrupts(self, images):
        calls.append(images)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return embed(self, images)

    embed = ImageEmbedder.__call__
    monkeypatch.setattr(ImageEmbedder, "__call__", interrupts)
    words = ["--texts", "猫", "--steps", "3", "--seeds", "2", "--output_dir", str(tmp_path / "figure")]
    with pytest.raises(SystemExit) as stopped:
        main([options().model, *words])
    assert stopped.value.code == 130
    assert "what was made so far is in" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "figure").glob("*.png")} == {"00_猫_0.png", "00_猫_1.png", "figure4.png"}
    assert len((tmp_path / "figure" / "trace.csv").read_text("utf-8").splitlines()) == 1 + 3 + 1


def test_concepts_are_found_by_their_names_in_one_language():
    rows = load_emoji7()["train"]
    for language in ("zh", "de", "ko"):
        names = rows[f"name_{language}"][:3]
        if len(set(names)) == 3:
            assert find_concepts(names) == rows["concept_id"][:3]
    assert find_concepts(["红苹果", "春眠不觉晓"]) is None


def test_ranks_and_hits_of_known_similarities():
    ranked = rank_by_embedding(torch.eye(3)[[0, 1]], torch.eye(3))
    assert ranked.tolist() == [[0, 1, 2], [1, 0, 2]]
    assert hits(ranked, [0, 2], 1).tolist() == [1, 0]
    assert hits(ranked, [1, 2], 2).tolist() == [1, 0]


def test_distance_is_zero_to_a_training_image_and_not_to_noise():
    drawing = Image.new("RGBA", (96, 96), "white")
    drawing.alpha_composite(load_emoji7()["train"][1000]["image"])
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8))
    pasted, other = nearest_training_distances([drawing.convert("RGB"), noise])
    assert pasted < 0.01
    assert other > 0.1


def test_random_tower_has_other_weights_and_the_same_shape(tiny_brivl):
    before = torch.get_rng_state()
    one, other = random_tower(tiny_brivl[0], seed=1), random_tower(tiny_brivl[0], seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    for name, weight in tiny_brivl[0].vision_model.encoder.named_parameters():
        assert torch.equal(one.vision_model.encoder.get_parameter(name), other.vision_model.encoder.get_parameter(name))
        assert weight.shape == one.vision_model.encoder.get_parameter(name).shape
    projection = tiny_brivl[0].vision_model.region_projection.weight
    assert not torch.allclose(one.vision_model.region_projection.weight, projection)


@pytest.mark.slow
def test_images_of_a_tower_that_learned_drawings_show_them_to_an_independent_classifier_and_those_of_controls_do_not(
    tmp_path,
):
    options = {"model": str(train_drawing_tower(tmp_path / "tower")), "texts": NAMES}
    images = run(VisualizeArguments(**options, output_dir=str(tmp_path / "figure"), controls=True))["images"]
    assert missed_bars(images) == []
    assert images["paper"]["own_top_1"] >= 0.9
    assert images["permuted"]["own_original_top_1"] <= 0.19
