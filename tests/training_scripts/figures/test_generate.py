"""The command that makes figure 11: its files, its bad inputs, what a stop leaves; whether images show their texts.

Calibration on the BriVL of `wenlan quickstart` with its pre-trained text encoder and on the VQGAN of `vqgan_tiny`: 16
concepts, 4 cuts, 60 steps, seeds 0 to 2; chance 0.06 and 0.31. All codes are valid by construction. Total variation is
0.04 to 0.05, that of pixels (seed 0) 0.56, so the bar of a half is met. The tower's own top-1 is 1.00, 1.00 and 0.88
(pixels 1.00). The independent classifier (0.81 on the unseen style) stays near chance: top-1 0.13 each time and top-5
0.25, 0.19 and 0.31, for pixels 0.00 and 0.38. Other settings (white to start from, 36 codes of 8 x 8 pixels, reduced
resolutions, smoothness), one seed each, gave it 0.00 to 0.19. The bar of 0.35 that was proposed for it is missed:
colours and some parts are right, outlines are not. So no bar is set on it; those below are on the smaller BriVL of the
tests and on a VQGAN of 80 steps. Five towers that learned drawings from nothing (`python benchmarks/paper/figure4.py
--vqgan runs/vqgan_tiny`) have 0.31 0.50 0.69 0.50 0.50: four of five meet the bar.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.brivl.tiny_folder import save_tiny_folder
from helpers.tiny_vqgan import CODES, build_tiny_vqgan
from helpers.training.recipes import SMOKE
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor
from typer.testing import CliRunner
from wenlan.analysis.neurons.image_embedding import ImageEmbedder
from wenlan.pipelines.vqgan import decode_codes, open_vqgan
from wenlan.training_scripts import train_vqgan
from wenlan.training_scripts.figures import generate
from wenlan.training_scripts.figures.generate import GenerateArguments, main, run

from wenlan.cli.main import app

TEXTS = ["一只猫", "雪山和湖", "红色的苹果", "猫", "雪"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of a BriVL and of a VQGAN, both with random weights."""
    root = tmp_path_factory.mktemp("models")
    save_tiny_folder(root / "brivl")
    build_tiny_vqgan().save_pretrained(root / "vqgan")
    return {"model": str(root / "brivl"), "vqgan": str(root / "vqgan")}


@pytest.fixture
def options(folders, tmp_path):
    """Makes options of a run of a few steps."""

    def make(**changes):
        common = {"output_dir": str(tmp_path / "figure"), "steps": 3, "cuts": 2}
        return GenerateArguments(**({"texts": TEXTS[:2]} | folders | common | changes))

    return make


def test_run_writes_images_codes_that_decode_to_them_animations_trace_figure_and_metrics(options, folders, tmp_path):
    metrics, folder = run(options(rerank=2, seed=4)), tmp_path / "figure"
    images = ["00_一只猫_4.png", "01_雪山和湖_4.png", "00_一只猫_5.png", "01_雪山和湖_5.png"]
    assert {path.name for path in folder.glob("*.png")} == {*images, "figure11.png"}
    codes = np.load(folder / "codes.npy", allow_pickle=False)
    assert codes.shape == (4, 8, 8)
    assert 0 <= codes.min() <= codes.max() < CODES
    with torch.no_grad():
        decoded = decode_codes(open_vqgan(folders["vqgan"]), torch.from_numpy(codes).long())
    saved = torch.stack([pil_to_tensor(Image.open(folder / name)) for name in images]) / 255
    assert (decoded - saved).abs().max() <= 1 / 255
    for stem in ("00_一只猫", "01_雪山和湖"):
        with Image.open(folder / f"{stem}_progress.gif") as animation:
            assert animation.n_frames > 1
    with (folder / "trace.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 2 * 2 * 3
    with (folder / "images.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["text"], row["seed"]) for row in rows] == [(text, seed) for seed in "45" for text in TEXTS[:2]]
    for text in TEXTS[:2]:
        own = [row for row in rows if row["text"] == text]
        assert [row["is_best"] for row in own] == [
            str(row["cosine"] == max((one["cosine"] for one in own), key=float)) for row in own
        ]
    best = [max(float(row["cosine"]) for row in rows if row["text"] == text) for text in TEXTS[:2]]
    assert metrics["images"]["codes"]["cosine"] == pytest.approx(np.mean(best), abs=1e-4)
    assert json.loads((folder / "metrics.json").read_text("utf-8")) == metrics
    assert metrics["images"]["codes"]["n"] == 2
    assert metrics["images"]["chance"]["chance_top_1"] == 0.5


def test_same_seed_gives_equal_metrics_but_for_the_time(options, tmp_path):
    written = []
    for number in range(2):
        run(options(output_dir=str(tmp_path / str(number)), rerank=2))
        text = (tmp_path / str(number) / "metrics.json").read_text("utf-8")
        written.append([line for line in text.splitlines() if "wall_seconds" not in line])
    assert written[0] == written[1]


def test_controls_are_beside_the_images(options):
    metrics = run(options(texts=TEXTS, controls=True, steps=2))
    assert list(metrics["images"]) == ["codes", "permuted", "random_tower", "pixels", "chance"]
    assert "own_original_top_1" in metrics["images"]["permuted"]
    assert metrics["images"]["codes"]["nearest_training_distance"] > 0.05


def test_image_to_start_from_is_what_one_step_of_nothing_leaves(options, tmp_path):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    changes = {"init_image": str(tmp_path / "red.png"), "learning_rate": 1e-9, "steps": 1, "cuts": 0}
    run(options(**changes, distance="spherical"))
    codes = np.load(tmp_path / "figure" / "codes.npy", allow_pickle=False)
    assert (codes[0] == codes[1]).all()
    run(options(**changes, seed=7, output_dir=str(tmp_path / "other")))
    assert (np.load(tmp_path / "other" / "codes.npy", allow_pickle=False) == codes).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": ""}, "Give a BriVL and a VQGAN: wenlan generate MODEL --vqgan"),
        ({"vqgan": ""}, "Give a BriVL and a VQGAN"),
        ({"texts": []}, "Give either --texts or --file"),
        ({"file": "poem.txt"}, "Give either --texts or --file"),
        ({"texts": ["猫", "猫"]}, "A text is given twice"),
        ({"texts": ["猫", " "]}, "is empty"),
        ({"texts": [], "file": "empty.txt"}, "has no text; write one a line"),
        ({"controls": True}, "There are 2 texts; controls permute them: give 5 or more"),
        ({"init_image": "empty.txt"}, "not an image|empty"),
    ],
)
def test_bad_input_is_refused_in_a_line_before_anything_is_written(options, tmp_path, monkeypatch, changes, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("\n \n", "utf-8")
    with pytest.raises(ValueError, match=message):
        run(options(**changes))
    assert not (tmp_path / "figure").exists()


def test_folder_without_a_vqgan_is_refused(options, folders, tmp_path):
    with pytest.raises(ValueError, match=r"holds no VQGAN but a brivl"):
        run(options(vqgan=folders["model"]))
    with pytest.raises(FileNotFoundError, match="no model folder"):
        run(options(vqgan=str(tmp_path / "none")))
    (tmp_path / "cut").mkdir()
    for path in Path(folders["vqgan"]).iterdir():
        (tmp_path / "cut" / path.name).write_bytes(path.read_bytes()[:2000])
    with pytest.raises(OSError, match="Unable to load weights"):
        run(options(vqgan=str(tmp_path / "cut")))


def test_without_diffusers_the_command_says_what_to_install(options, folders, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    command = ["generate", folders["model"], "--vqgan", folders["vqgan"], "--texts", "猫"]
    result = CliRunner().invoke(app, [*command, "--output_dir", str(tmp_path / "figure")])
    assert result.exit_code == 1
    assert "Error: A VQGAN needs the package diffusers: pip install 'wenlan[generation]'" in result.output


def interrupt_at(monkeypatch, call, what):
    """Has a call of the image tower do something else."""
    calls, embed = [], ImageEmbedder.__call__

    def embeds(self, images):
        calls.append(images)
        return what(embed(self, images)) if len(calls) == call else embed(self, images)

    monkeypatch.setattr(ImageEmbedder, "__call__", embeds)


def test_ctrl_c_leaves_what_was_made_with_its_codes(options, folders, tmp_path, monkeypatch, capsys):
    def interrupt(_):
        raise KeyboardInterrupt

    interrupt_at(monkeypatch, 5, interrupt)
    words = ["--vqgan", folders["vqgan"], "--texts", "猫", "--steps", "3", "--rerank", "3"]
    with pytest.raises(SystemExit) as stopped:
        main([folders["model"], *words, "--output_dir", str(tmp_path / "figure")])
    assert stopped.value.code == 130
    assert "what was made so far is in" in capsys.readouterr().err
    folder = tmp_path / "figure"
    assert {path.name for path in folder.glob("*.png")} == {"00_猫_0.png", "00_猫_1.png", "figure11.png"}
    codes = torch.from_numpy(np.load(folder / "codes.npy", allow_pickle=False)).long()
    with torch.no_grad():
        decoded = decode_codes(open_vqgan(folders["vqgan"]), codes)
    saved = torch.stack([pil_to_tensor(Image.open(folder / f"00_猫_{seed}.png")) for seed in range(2)]) / 255
    assert (decoded - saved).abs().max() <= 1 / 255
    assert not (folder / "metrics.json").exists()


def test_loss_that_is_not_finite_ends_with_exit_code_3_and_the_last_good_image(options, tmp_path, monkeypatch):
    interrupt_at(monkeypatch, 2, lambda embeddings: embeddings * torch.nan)
    with pytest.raises(SystemExit) as stopped:
        run(options())
    assert stopped.value.code == 3
    assert {path.name for path in (tmp_path / "figure").glob("*.png")} == {
        *("00_一只猫_0.png", "01_雪山和湖_0.png", "figure11.png"),
    }
    assert np.load(tmp_path / "figure" / "codes.npy", allow_pickle=False).shape == (2, 8, 8)


CONCEPTS = ("红苹果", "太阳", "西瓜", "向日葵", "熊猫", "青蛙", "汽车", "蝴蝶")


@pytest.mark.slow
def test_images_of_trained_models_show_the_tower_their_texts_and_are_smoother_than_pixels(
    quickstart_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(generate, "open_classifier", lambda texts, seed: None)
    monkeypatch.setattr(train_vqgan, "evaluate", lambda *_: None)
    lengths = ["--max_steps", "80", "--quantize_from", "40", "--save_strategy", "no", "--output_dir"]
    vqgan = train_vqgan.main(["vqgan_tiny", *SMOKE, *lengths, str(tmp_path / "vqgan")])
    options = {"model": str(quickstart_folder), "vqgan": str(vqgan), "texts": list(CONCEPTS), "steps": 20, "cuts": 2}
    images = run(GenerateArguments(**options, output_dir=str(tmp_path / "figure"), controls=True))["images"]
    codes, permuted, random, pixels = (images[name] for name in ("codes", "permuted", "random_tower", "pixels"))
    assert codes["total_variation"] <= pixels["total_variation"] / 2  # seen 0.02 and 0.52
    assert codes["cosine"] >= random["cosine"] + 0.1  # seen 0.46 and 0.28
    assert codes["own_top_5"] >= 0.75  # seen 0.88, chance 0.63
    assert permuted["cosine"] >= random["cosine"] + 0.1  # seen 0.46
    assert permuted["own_original_top_1"] <= 0.25  # seen 0.13, which is chance
    assert min(one["nearest_training_distance"] for one in (codes, permuted, pixels)) > 0.05  # seen 0.12
