import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from helpers import forked
from helpers.mlmm.corpus_files import CLASSES, draw_classes, write_captions, write_corpus, write_regions
from helpers.mlmm.xlm_r import write_xlm_r
from helpers.training import recipes
from helpers.training.checkpoints import assert_opens_like
from helpers.training.recipes import SMALL_MLMM, read_recipe, write_recipe
from safetensors.torch import load_file
from transformers import AutoModelForPreTraining
from wenlan.data import read_region_info
from wenlan.data.emoji_scenes.vocabulary import CLASS_NAMES
from wenlan.modeling_mlmm import MLMMForPreTraining
from wenlan.modeling_region_detector import RegionDetectorConfig
from wenlan.processing import MLMMProcessor
from wenlan.training.mlmm.model import MLMMArguments, build_model, load_processor
from wenlan.training_scripts.pretrain_mlmm import main

SMOKE = [*recipes.SMOKE, "--logging_steps", "8", "--token_budget", "256"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """The tiny recipe with 24 made-up images, evaluated on six more, with dropout."""
    folder = tmp_path_factory.mktemp("corpus")
    train, test = write_corpus(folder / "train", 24), write_corpus(folder / "test", 6, first=100)
    paths = dict(zip(("regions", "captions", "test_regions", "test_captions"), (*train, *test), strict=True))
    curriculum = [{"steps": 1, "tasks": ["mlm"], "languages": ["en"]}]
    changes = {"detector": None, "curriculum": curriculum, "model_config": SMALL_MLMM}
    return write_recipe(folder / "small.yaml", "mlmm_tiny", **paths, **changes)


@pytest.fixture(scope="module")
def trained(recipe, tmp_path_factory):
    """The folder after eight steps."""
    torch.set_num_threads(1)
    return main([recipe, *SMOKE, "--max_steps", "8", "--output_dir", str(tmp_path_factory.mktemp("runs") / "out")])


def test_recipe_trains_and_the_folder_opens(trained):
    model, processor = AutoModelForPreTraining.from_pretrained(trained), MLMMProcessor.from_pretrained(trained)
    assert isinstance(model, MLMMForPreTraining)
    assert model(**processor(text=["a lion"])).itm_logits.shape == (1, 2)
    report = json.loads((trained / "data_report.json").read_text("utf-8"))
    assert report[0]["captions"] == {"en": 48, "zh": 48}
    assert report[0]["tasks"] == read_recipe("mlmm_tiny")["tasks"]


def test_losses_and_accuracies_of_each_task_are_logged(trained):
    logs = json.loads((trained / "trainer_state.json").read_text("utf-8"))["log_history"]
    names = {name for name in logs[0] if name.endswith(("_loss", "_accuracy"))} - {"train_loss"}
    assert {"itm_loss", "itm_accuracy", "mlm_loss", "mlm_accuracy"} <= names
    assert names <= {f"{task}_{kind}" for task in ("itm", "mlm", "mrfr", "mrc") for kind in ("loss", "accuracy")}


def test_metrics_on_unseen_images_stand_beside_their_controls(trained):
    metrics = json.loads((trained / "metrics.json").read_text("utf-8"))
    assert set(metrics) == {"itm", "object_words", "mrc"}
    assert set(metrics["itm"]) == {"all", "en", "zh"}
    assert {"accuracy", "without_regions"} <= set(metrics["object_words"]["zh"])
    assert {"accuracy", "with_other_words", "most_common"} <= set(metrics["mrc"]["all"])


def test_other_captions_regions_and_batches_are_refused_by_a_resumed_run(tmp_path):
    regions, captions = write_corpus(tmp_path / "train", 24)
    changes = dict.fromkeys(("test_regions", "test_captions", "detector")) | {"model_config": SMALL_MLMM}
    recipe = write_recipe(tmp_path / "r.yaml", "mlmm_tiny", regions=regions, captions=captions, **changes)
    options = [recipe, *SMOKE, "--max_steps", "2", "--save_strategy", "steps", "--save_steps", "1"]
    options += ["--output_dir", str(tmp_path / "out"), "--resume"]
    main(options)
    checkpoint = tmp_path / "out" / "checkpoint-2"
    assert_opens_like(checkpoint, tmp_path / "out")
    args, info = MLMMArguments(init_from=str(checkpoint)), read_region_info(regions)
    started = build_model(args, load_processor(args, info), info).state_dict()
    saved = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(value, started[name]) for name, value in saved.items())
    with pytest.raises(ValueError, match=r"checkpoint-2 was trained otherwise: masked_fraction is 0\.4 there and 0\.3"):
        main([*options, "--masked_fraction", "0.3"])
    file = Path(captions) / "captions_en.jsonl"
    before = file.read_text("utf-8")
    file.write_text(before.replace('.", "', '!", "', 1), "utf-8")
    with pytest.raises(ValueError, match=r"otherwise: data\.captions differs\. "):
        main(options)
    file.write_text(before, "utf-8")
    images = {f"{number}.png": draw_classes(number) for number in range(24)}
    shutil.rmtree(regions)
    write_regions(Path(regions), images, broken=["3.png"])
    with pytest.raises(ValueError, match=r"otherwise: data\.regions differs\. "):
        main(options)


def test_resumed_run_gives_the_same_bits(recipe, tmp_path):
    options = [recipe, *SMOKE, "--max_steps", "6", "--save_strategy", "steps", "--save_steps", "3"]
    options += ["--gradient_accumulation_steps", "2", "--output_dir", str(tmp_path), "--test_examples", "2"]
    whole = load_file(main(options) / "model.safetensors")
    for path in (tmp_path / "checkpoint-6").iterdir():
        path.unlink()
    (tmp_path / "checkpoint-6").rmdir()
    resumed = load_file(main([*options, "--resume"]) / "model.safetensors")
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


@pytest.mark.slow
def test_two_ranks_train_as_one_does(recipe, tmp_path):
    options = [recipe, *SMOKE, "--max_steps", "5", "--test_examples", "2"]
    words = [*options, "--ddp_backend", "gloo", "--output_dir", str(tmp_path / "two")]
    forked.run_on_ranks(main, words, folder=tmp_path)
    one = main([*options, "--gradient_accumulation_steps", "2", "--output_dir", str(tmp_path / "one")])
    one, two = (load_file(folder / "model.safetensors") for folder in (one, tmp_path / "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=2e-6, rtol=1e-4)


def test_regions_of_nan_are_left_out_and_counted(tmp_path, capsys):
    images = {f"{number}.png": draw_classes(number) for number in range(24)}
    write_regions(tmp_path / "regions", images, broken=["3.png"])
    write_captions(tmp_path / "captions", images)
    paths = {"regions": str(tmp_path / "regions"), "captions": str(tmp_path / "captions")}
    changes = dict.fromkeys(("test_regions", "test_captions", "detector")) | {"model_config": SMALL_MLMM}
    recipe = write_recipe(tmp_path / "r.yaml", "mlmm_tiny", **paths, **changes)
    folder = main([recipe, *SMOKE, "--max_steps", "4", "--token_budget", "1024", "--output_dir", str(tmp_path / "out")])
    assert "Left out while training. regions of batches: kept " in capsys.readouterr().out
    assert all(value.isfinite().all() for value in load_file(folder / "model.safetensors").values())


@pytest.fixture(scope="module")
def pretrained_recipe(tmp_path_factory):
    """The recipe mlmm_e5 on a small XLM-R, with made-up images whose detector names four classes."""
    folder = tmp_path_factory.mktemp("pretrained")
    write_xlm_r(folder / "xlm_r", SMALL_MLMM)
    labels = {index: CLASS_NAMES["en"][index] for index in range(CLASSES - 1)}
    RegionDetectorConfig(id2label=labels).save_pretrained(folder / "detector")
    paths = dict(zip(("regions", "captions"), write_corpus(folder, 24), strict=True))
    paths |= {"text_weights": str(folder / "xlm_r"), "detector": str(folder / "detector"), "region_names": "detector"}
    recipe = read_recipe("mlmm_e5") | paths
    recipe["model_config"]["num_hidden_layers"] = SMALL_MLMM["num_hidden_layers"]
    recipe["curriculum"] = [stage | {"steps": 1} for stage in recipe["curriculum"]]
    for name in ("test_regions", "test_captions"):
        del recipe[name]
    (folder / "r.yaml").write_text(yaml.safe_dump(recipe), "utf-8")
    return str(folder / "r.yaml")


def test_regions_of_a_pretrained_tower_start_as_names_and_resume_as_they_are(pretrained_recipe, tmp_path, capsys):
    options = [pretrained_recipe, *SMOKE, "--max_steps", "4", "--save_steps", "2", "--output_dir", str(tmp_path)]
    whole = load_file(main(options) / "model.safetensors")
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("Before training"))
    assert line == "Before training 100.0% of the regions are nearest to the name of their class."
    words = "mlmm.text_embeddings.word_embeddings.weight"
    tower = load_file(pretrained_recipe.replace("r.yaml", "xlm_r/model.safetensors"))
    assert torch.equal(whole[words], tower["roberta.embeddings.word_embeddings.weight"])
    shutil.rmtree(tmp_path / "checkpoint-4")
    resumed = load_file(main([*options, "--resume"]) / "model.safetensors")
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_regions_that_do_not_start_as_names_are_another_run(pretrained_recipe, tmp_path):
    options = [*SMOKE, "--max_steps", "2", "--save_steps", "1", "--output_dir", str(tmp_path)]
    main([pretrained_recipe, *options])
    other = yaml.safe_load(Path(pretrained_recipe).read_text("utf-8")) | {"region_names": None}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(other, allow_unicode=True), "utf-8")
    with pytest.raises(ValueError, match=r"region_names is 'detector' there and None now"):
        main([str(tmp_path / "other.yaml"), *options, "--resume"])


def test_base_recipe_trains_on_two_corpora_at_tiny_width(tmp_path):
    strong = dict(zip(("regions", "captions"), write_corpus(tmp_path / "strong", 12), strict=True))
    regions, captions = write_corpus(tmp_path / "weak", 12, first=50, languages=["zh"])
    corpora = read_recipe("mlmm_base")["corpora"]
    corpora = [
        corpora[0] | strong,
        corpora[1] | {"regions": regions, "captions": {"zh": f"{captions}/captions_zh.jsonl"}},
    ]
    changes = {"corpora": corpora, "text_weights": None, "model_config": SMALL_MLMM}
    recipe = write_recipe(tmp_path / "base.yaml", "mlmm_base", **changes)
    folder = main([recipe, *SMOKE, "--max_steps", "2", "--output_dir", str(tmp_path / "out")])
    report = json.loads((folder / "data_report.json").read_text("utf-8"))
    assert [corpus["tasks"] for corpus in report] == [{"itm": 9, "mlm": 12, "mrfr": 6, "mrc": 6}, {"itm": 9}]
    assert [corpus["captions"] for corpus in report] == [{"en": 24, "zh": 24}, {"zh": 24}]


def test_training_that_is_counted_in_epochs_is_refused(recipe, tmp_path):
    with pytest.raises(ValueError, match="Give max_steps"):
        main([recipe, *SMOKE, "--max_steps", "-1", "--output_dir", str(tmp_path)])


def test_stage_with_a_wrong_key_is_refused(recipe, tmp_path):
    recipe = yaml.safe_load(Path(recipe).read_text("utf-8")) | {"curriculum": [{"steps": 1, "language": "en"}]}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(recipe), "utf-8")
    with pytest.raises(ValueError, match=r"curriculum: .*'language'; a stage has steps, tasks and languages"):
        main([str(tmp_path / "wrong.yaml"), *SMOKE, "--output_dir", str(tmp_path / "out")])
