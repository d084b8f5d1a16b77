import io
import json
import shutil
from contextlib import redirect_stdout

import pytest
import torch
from helpers.training import recipes
from helpers.training.recipes import write_recipe
from PIL import Image
from safetensors.torch import load_file
from wenlan.pipelines.vqgan import hash_vqgan, open_vqgan
from wenlan.training.recipe import parse_recipe
from wenlan.training.vqgan.model import build_vqgan
from wenlan.training_scripts import train_vqgan
from wenlan.training_scripts.train_vqgan import ARGUMENTS, main

WEIGHTS = "diffusion_pytorch_model.safetensors"
SMOKE = [*recipes.SMOKE, "--max_steps", "4", "--per_device_train_batch_size", "4", "--logging_steps", "1"]


@pytest.fixture(scope="module")
def small_recipe(tmp_path_factory):
    """The shipped recipe at 16 px."""
    sizes = {"image_size": 16, "channels": [8, 16], "norm_groups": 4, "codes": 32, "code_channels": 4}
    path = tmp_path_factory.mktemp("recipe") / "small.yaml"
    return write_recipe(path, "vqgan_tiny", **sizes, quantize_from=1, train_limit=24, max_steps=4)


@pytest.fixture(autouse=True)
def few_unseen(monkeypatch):
    """Evaluates on few drawings."""
    load = train_vqgan.load_drawings

    def load_few(*args):
        trained, unseen = load(*args)
        unseen.drawings = unseen.drawings.select(range(20))
        return trained, unseen

    monkeypatch.setattr(train_vqgan, "load_drawings", load_few)


def test_shipped_recipe_builds(tmp_path):
    model_args, data_args, *_ = parse_recipe(
        ARGUMENTS, ["vqgan_tiny", "--output_dir", str(tmp_path), "--bf16", "false"]
    )
    model = build_vqgan(model_args, data_args.image_size)
    assert model.config["sample_size"] == data_args.image_size
    assert sum(parameter.numel() for parameter in model.parameters()) < 3_000_000


def test_recipe_trains_resumes_to_the_same_model_and_refuses_another_one(small_recipe, tmp_path):
    command = [small_recipe, *SMOKE, "--save_steps", "2", "--output_dir", str(tmp_path / "out")]
    printed = io.StringIO()
    with redirect_stdout(printed):
        folder = main(command)
    model, metrics = open_vqgan(folder), json.loads((folder / "metrics.json").read_text("utf-8"))
    assert metrics["model_hash"] == hash_vqgan(model)
    assert metrics["n"] == 20
    assert metrics["psnr_interval"][0] < metrics["psnr"] < metrics["psnr_interval"][1]
    assert metrics["psnr_of_mean_image"] > 5
    assert 0 < metrics["codes_used_fraction"] <= 1
    assert f"of {metrics['codes']} codes in use" in printed.getvalue()
    assert "wenlan generate runs/quickstart --vqgan" in printed.getvalue()
    assert Image.open(folder / "reconstructions.png").width > 800
    whole = (folder / WEIGHTS).read_bytes()
    shutil.rmtree(folder / "checkpoint-4")
    for name in (WEIGHTS, "config.json"):
        (folder / name).unlink()
    with redirect_stdout(printed):
        main([*command, "--resume"])
    assert f"Continues from {folder}/checkpoint-2." in printed.getvalue()
    assert (folder / WEIGHTS).read_bytes() == whole
    with pytest.raises(ValueError, match=r"trained otherwise: .*smallest_drawing is"):
        main([*command, "--resume", "--smallest_drawing", "0.5"])
    with pytest.raises(ValueError, match=r"trained otherwise: .*num_vq_embeddings is"):
        main([*command, "--resume", "--codes", "48"])


def test_run_that_breaks_fails_and_leaves_no_model(small_recipe, tmp_path, capsys):
    with pytest.raises(ValueError, match=r"not finite|diverged|were dropped"):
        main([small_recipe, *SMOKE, "--output_dir", str(tmp_path), "--learning_rate", "1e30"])
    assert not (tmp_path / "config.json").exists()
    assert "The model is in" not in capsys.readouterr().out


def test_trained_steps_change_every_weight(small_recipe, tmp_path):
    folder = main([small_recipe, *SMOKE, "--output_dir", str(tmp_path)])
    torch.manual_seed(0)
    model_args, data_args, *_ = parse_recipe(ARGUMENTS, [small_recipe, *SMOKE, "--output_dir", str(tmp_path)])
    start = build_vqgan(model_args, data_args.image_size).state_dict()
    same = [name for name, value in load_file(folder / WEIGHTS).items() if torch.equal(value, start[name])]
    assert same == []
