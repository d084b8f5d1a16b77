import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers import forked
from helpers.brivl.tiny_folder import save_tiny_folder
from helpers.finetuning.retrieval_models import save_pretrained_mlmm
from helpers.mlmm.corpus_files import draw_classes, write_captions, write_corpus, write_regions
from helpers.training.checkpoints import assert_opens_like
from helpers.training.recipes import SMOKE, write_recipe
from safetensors.torch import load_file
from transformers import AutoModel, BertConfig
from wenlan.data import TooManyBadRowsError, load_emoji7
from wenlan.data.files.model_folder import open_pretrained
from wenlan.modeling_mlmm import MLMMForImageTextRetrieval
from wenlan.processing import MLMMProcessor
from wenlan.training.retrieval.arguments import RetrievalArguments, RetrievalData
from wenlan.training.retrieval.brivl import BriVLRetrieval
from wenlan.training.retrieval.mlmm import MLMMRetrieval
from wenlan.training.retrieval.report import format_recalls
from wenlan.training_scripts.finetune_retrieval import main

STEPS = ["--max_steps", "4", "--eval_steps", "2", "--save_steps", "2", "--logging_steps", "2"]
STEPS += ["--eval_strategy", "steps", "--load_best_model_at_end", "true", "--metric_for_best_model", "mean_recall"]


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """24 images to train on, 6 to choose by and 8 to evaluate on, with captions in English and Chinese; a model."""
    folder = tmp_path_factory.mktemp("corpus")
    found = {}
    for prefix, count, first in (("", 24, 0), ("validation_", 6, 100), ("test_", 8, 200)):
        regions, captions = write_corpus(folder / f"{prefix}corpus", count, first=first)
        found |= {f"{prefix}regions": regions, f"{prefix}captions": captions}
    torch.manual_seed(0)
    return found | {"init_from": save_pretrained_mlmm(folder / "model")}


@pytest.fixture(scope="module")
def recipe(paths, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    return write_recipe(folder / "small.yaml", "retrieval_tiny", **paths, per_device_train_batch_size=4)


@pytest.fixture(scope="module")
def trained(recipe, tmp_path_factory):
    """The folder after four steps from all languages."""
    torch.set_num_threads(1)
    return main([recipe, *SMOKE, *STEPS, "--output_dir", str(tmp_path_factory.mktemp("runs") / "all")])


def read_metrics(folder):
    return json.loads((folder / "metrics.json").read_text("utf-8"))


def test_folder_opens_with_its_processor(trained):
    model, processor = MLMMForImageTextRetrieval.from_pretrained(trained), MLMMProcessor.from_pretrained(trained)
    assert model.config.retrieval_loss == "itm"
    assert processor.region_feature_dim == model.config.region_feature_dim
    checkpoint = next(trained.glob("checkpoint-*"))
    assert_opens_like(checkpoint, trained)
    open_pretrained(MLMMForImageTextRetrieval, checkpoint, is_whole=True)  # as `wenlan evaluate` does


def test_long_captions_of_a_test_are_cut_and_those_of_the_training_left_out(paths, tmp_path):
    changed = dict(paths)
    for name in ("captions", "test_captions"):
        shutil.copytree(paths[name], tmp_path / name)
        file = tmp_path / name / "captions_en.jsonl"
        first, *rest = map(json.loads, file.read_text("utf-8").splitlines())
        first["text"] = [f"{'lion and fox, ' * 40}." for _ in first["text"]]
        file.write_text("".join(f"{json.dumps(row)}\n" for row in (first, *rest)), "utf-8")
        changed[name] = str(tmp_path / name)
    recipe = write_recipe(tmp_path / "r.yaml", "retrieval_tiny", **changed, test_caption=1)
    metrics = read_metrics(main([recipe, *SMOKE, "--evaluate_only", "true", "--output_dir", str(tmp_path / "out")]))
    assert metrics["images"]["en"] == metrics["captions"]["en"] == 8
    data = {name: value for name, value in changed.items() if name != "init_from"}
    job = MLMMRetrieval(RetrievalArguments(init_from=paths["init_from"]), RetrievalData(**data))
    assert len(job.corpora["training"].captions["en"]) == len(job.corpora["training"].captions["zh"]) - 2
    assert len(job.corpora["test"].captions["en"]) == len(job.corpora["test"].captions["zh"])


def test_metrics_of_each_language_stand_beside_chance_and_the_blind_control(trained):
    metrics = read_metrics(trained)
    assert metrics["images"] == {"en": 8, "zh": 8}
    assert set(metrics["recalls"]) == {"en", "zh"}
    assert set(metrics["without_regions"]) == {"en"}
    row = metrics["recalls"]["zh"]
    assert {"t2i_R@1", "i2t_R@10", "t2i_chance_R@5", "mean_recall", "chance_mean_recall"} <= set(row)
    assert metrics["mean_recall_of_other_languages"] == row["mean_recall"]


def test_best_checkpoint_is_chosen_by_the_recall_in_english(trained):
    state = json.loads((trained / "trainer_state.json").read_text("utf-8"))
    recalls = {log["step"]: log["eval_mean_recall"] for log in state["log_history"] if "eval_mean_recall" in log}
    assert set(recalls) == {2, 4}
    assert state["best_metric"] == max(recalls.values())
    best = load_file(f"{state['best_model_checkpoint']}/model.safetensors")
    saved = load_file(trained / "model.safetensors")
    assert all(torch.equal(best[name], saved[name]) for name in best)


@pytest.mark.slow
def test_setting_each_trains_a_model_a_language_and_judges_it_in_its_own(recipe, tmp_path):
    folder = main([recipe, *SMOKE, *STEPS, "--setting", "each", "--output_dir", str(tmp_path)])
    assert set(read_metrics(folder)["recalls"]) == {"en", "zh"}
    assert set(read_metrics(folder)["without_regions"]) == {"en", "zh"}
    weights = [load_file(folder / language / "model.safetensors") for language in ("en", "zh")]
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_setting_en_trains_on_english_alone_and_is_judged_in_all_languages(recipe, tmp_path, capsys):
    folder = main([recipe, *SMOKE, *STEPS, "--setting", "en", "--output_dir", str(tmp_path)])
    assert "Trains on 48 captions in en;" in capsys.readouterr().out
    assert set(read_metrics(folder)["recalls"]) == {"en", "zh"}


@pytest.mark.slow
def test_resumed_run_with_hard_negatives_gives_the_same_bits(paths, tmp_path):
    changes = {"hard_negatives": {"pool": 3, "keep": 1}, "per_device_train_batch_size": 4, "retrieval_loss": "margin"}
    changes["init_from"] = save_pretrained_mlmm(tmp_path / "model", hidden_dropout_prob=0.1)
    recipe = write_recipe(tmp_path / "r.yaml", "retrieval_tiny", **paths | changes, save_total_limit=3)
    options = [recipe, *SMOKE, *STEPS, "--max_steps", "6", "--output_dir", str(tmp_path / "out")]
    options += ["--load_best_model_at_end", "false"]
    folder = main(options)
    whole = load_file(folder / "model.safetensors")
    for name in ("checkpoint-6", "checkpoint-4"):
        shutil.rmtree(folder / name)
    (folder / "config.json").unlink()
    main([*options, "--resume"])
    resumed = load_file(folder / "model.safetensors")
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_epochs_count_the_captions_of_the_setting(recipe, tmp_path, capsys):
    options = [recipe, *SMOKE, "--num_train_epochs", "0.25", "--output_dir", str(tmp_path / "out"), "--setting"]
    folder = main([*options, "all"])
    assert json.loads((folder / "trainer_state.json").read_text("utf-8"))["global_step"] == 6  # of 24 for 96 captions
    main([*options, "all", "--resume"])
    assert "is trained already" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"was trained otherwise: num_train_epochs is 0\.25 there and 0\.5 now"):
        main([*options, "all", "--resume", "--num_train_epochs", "0.5"])


def test_run_that_stopped_while_scoring_goes_on_there(trained, recipe, tmp_path, capsys):
    folder = shutil.copytree(trained, tmp_path / "run")
    before = read_metrics(folder)
    (folder / "metrics.json").unlink()
    shards = sorted((folder / "scores").glob("*/*.npy"))
    shards[0].unlink()
    kept = {path: path.stat().st_mtime_ns for path in shards[1:]}
    main([recipe, *SMOKE, *STEPS, "--resume", "--output_dir", str(folder)])
    assert f"{folder} is trained already." in capsys.readouterr().out
    assert {**read_metrics(folder), "wall_seconds": 0} == {**before, "wall_seconds": 0}
    assert {path: path.stat().st_mtime_ns for path in shards[1:]} == kept


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--setting", "en"], "captions differs, languages is .'en', 'zh'. there and .'en'. now"),
        (["--learning_rate", "0.5"], "learning_rate is 0.0005 there and 0.5 now"),
        (["--per_device_train_batch_size", "2"], "per_device_train_batch_size is 4 there and 2 now"),
    ],
)
def test_model_that_was_trained_otherwise_does_not_pass_for_this_one(trained, recipe, options, message):
    with pytest.raises(ValueError, match=f"was trained otherwise: (data.)?{message}"):
        main([recipe, *SMOKE, *STEPS, *options, "--resume", "--output_dir", str(trained)])


def test_metrics_say_what_they_are_of_and_how_sure_they_are(trained, paths):
    metrics = read_metrics(trained)
    assert (metrics["model"], metrics["seed"], metrics["comparable"]) == (paths["init_from"], 0, False)
    assert metrics["paper_reference"]["metrics"]["all"]["MLMM"][0] == 92.0
    assert metrics["chance_of_other_languages"] == metrics["recalls"]["zh"]["chance_mean_recall"]
    low, high = metrics["recalls"]["en"]["interval"]
    assert low <= metrics["recalls"]["en"]["mean_recall"] <= high
    assert f"({low:.1f} to {high:.1f}, chance" in format_recalls(metrics)


def test_model_that_is_not_there_is_named(paths, tmp_path):
    recipe = write_recipe(tmp_path / "r.yaml", "retrieval_tiny", **paths | {"init_from": str(tmp_path / "gone")})
    with pytest.raises(FileNotFoundError, match=r"There is no model folder .*gone"):
        main([recipe, *SMOKE, "--output_dir", str(tmp_path / "out")])


def test_evaluation_alone_judges_the_model_as_it_is(trained, recipe, tmp_path):
    options = ["--evaluate_only", "true", "--init_from", str(trained), "--output_dir", str(tmp_path)]
    assert read_metrics(main([recipe, *SMOKE, *options]))["recalls"] == read_metrics(trained)["recalls"]
    assert not (tmp_path / "config.json").exists()


def test_test_image_in_the_training_list_is_subtracted_and_counted(paths, tmp_path, capsys):
    images = {f"{number}.png": draw_classes(number) for number in (*range(12), 200, 203)}
    write_regions(tmp_path / "regions", images)
    write_captions(tmp_path / "captions", images)
    changes = {"regions": str(tmp_path / "regions"), "captions": str(tmp_path / "captions"), "setting": "en"}
    recipe = write_recipe(tmp_path / "r.yaml", "retrieval_tiny", **paths | changes)
    folder = main([recipe, *SMOKE, *STEPS, "--output_dir", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert "Trains on 24 captions in en;" in printed
    assert "Training images left out, since they are evaluated on: 2" in printed
    assert read_metrics(folder)["left_out_of_training"] == 2


def test_regions_of_nan_are_left_out_and_counted(paths, tmp_path, capsys):
    found = {}
    for prefix, numbers in (("", range(24)), ("test_", range(200, 208))):
        images = {f"{number}.png": draw_classes(number) for number in numbers}
        write_regions(tmp_path / f"{prefix}regions", images, broken=[f"{numbers[3]}.png"])
        found[f"{prefix}regions"] = str(tmp_path / f"{prefix}regions")
    recipe = write_recipe(tmp_path / "r.yaml", "retrieval_tiny", **paths | found)
    folder = main([recipe, *SMOKE, *STEPS, "--output_dir", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert "test: images left out: {'not finite': 1}" in printed
    assert "Left out while training. regions of batches: kept " in printed
    assert read_metrics(folder)["images"] == {"en": 7, "zh": 7}


@pytest.mark.parametrize(("broken", "fraction"), [(2, "0.2"), (8, "1")])
def test_set_to_evaluate_on_without_enough_regions_is_refused(paths, tmp_path, broken, fraction):
    names = [f"{number}.png" for number in range(200, 208)]
    images = {name: draw_classes(number) for number, name in enumerate(names)}
    write_regions(tmp_path / "regions", images, broken=names[:broken])
    recipe = write_recipe(tmp_path / "r.yaml", "retrieval_tiny", **paths | {"test_regions": str(tmp_path / "regions")})
    with pytest.raises(
        TooManyBadRowsError, match=rf"to evaluate on: kept {8 - broken} of 8(?s:.*){broken} x not finite"
    ):
        main([recipe, *SMOKE, *STEPS, "--output_dir", str(tmp_path / "out"), "--max_bad_fraction", fraction])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init_from": ""}, "init_from is missing"),
        ({"setting": "both"}, "setting is 'both'; give en, each, all"),
        (
            {"retrieval_loss": "triplet", "scoring_dtype": "int8"},
            "retrieval_loss is 'triplet'.*scoring_dtype is 'int8'",
        ),
        ({"languages": ["en", "fr"]}, "no training captions in fr, only in en, zh"),
        ({"regions": None}, "regions is missing"),
        ({"test_captions": None}, "test_captions is missing"),
        ({"validation_regions": None, "validation_captions": None}, "No validation captions in en.*--eval_strategy no"),
        ({"regions": None, "captions": None}, "Give captions, and regions"),
        ({"hard_negatives": {"pool": 2, "keep": 3}}, "keeps 3 of a pool of 2"),
        ({"hard_negatives": {"pool": 2}}, "whole numbers for pool and keep"),
        ({"num_wrong": 0, "hard_negatives": {}}, "num_wrong is 0"),
        ({"scoring_batch_size": 0}, "scoring_batch_size is 0; give a finite number from 1"),
        (
            {"test_images": -3, "test_caption": -1},
            r"test_caption is -1; .* test_images is -3; give a",
        ),
        ({"test_folds": 3}, "8 images cannot be cut into 3 equal folds"),
        ({"evaluate_only": True, "test_captions": None, "test_regions": None}, "Give test_captions"),
    ],
)
def test_what_cannot_work_is_refused_before_training(paths, tmp_path, changes, message):
    run = {"max_steps": 2, "num_train_epochs": None, "eval_steps": 2, "eval_strategy": "steps"}
    recipe = write_recipe(tmp_path / "r.yaml", "retrieval_tiny", **paths | run | changes)
    with pytest.raises(ValueError, match=message):
        main([recipe, *SMOKE, "--save_steps", "2", "--output_dir", str(tmp_path / "out")])
    assert not (tmp_path / "out" / "config.json").exists()


def test_unknown_language_of_a_caption_file_is_refused(paths, tmp_path):
    shutil.copytree(paths["captions"], tmp_path / "captions")
    (tmp_path / "captions" / "captions_en.jsonl").rename(tmp_path / "captions" / "captions_xx.jsonl")
    recipe = write_recipe(tmp_path / "r.yaml", "retrieval_tiny", **paths | {"captions": str(tmp_path / "captions")})
    with pytest.raises(ValueError, match="xx"):
        main([recipe, *SMOKE, "--output_dir", str(tmp_path / "out")])


def test_captions_whose_images_have_no_regions_are_refused(paths, tmp_path):
    write_captions(tmp_path / "captions", {f"{number}.png": [0] for number in range(500, 520)})
    recipe = write_recipe(tmp_path / "r.yaml", "retrieval_tiny", **paths | {"captions": str(tmp_path / "captions")})
    with pytest.raises(ValueError, match="no regions"):
        main([recipe, *SMOKE, "--output_dir", str(tmp_path / "out")])


@pytest.mark.slow
def test_two_ranks_train_one_model_and_one_of_them_judges_it(recipe, tmp_path):
    words = [recipe, *SMOKE, *STEPS, "--ddp_backend", "gloo"]
    words += ["--ddp_find_unused_parameters", "false", "--output_dir", str(tmp_path / "out")]
    printed = forked.run_on_ranks(main, words, folder=tmp_path)
    assert printed.count("mean recall of all languages but en") == 1
    assert set(read_metrics(tmp_path / "out")["recalls"]) == {"en", "zh"}


def test_other_kind_of_model_is_refused(paths, tmp_path):
    BertConfig().save_pretrained(tmp_path / "bert")
    recipe = write_recipe(tmp_path / "r.yaml", "retrieval_tiny", **paths | {"init_from": str(tmp_path / "bert")})
    with pytest.raises(ValueError, match="holds a model of type 'bert'"):
        main([recipe, *SMOKE, "--output_dir", str(tmp_path / "out")])


def test_base_recipe_trains_at_tiny_width(paths, tmp_path):
    recipe = write_recipe(tmp_path / "r.yaml", "retrieval_base", **paths, test_folds=4)
    options = ["--per_device_train_batch_size", "2", "--scoring_dtype", "float32", "--output_dir", str(tmp_path / "o")]
    folder = main([recipe, *SMOKE, *STEPS, *options])
    assert MLMMForImageTextRetrieval.from_pretrained(folder).config.retrieval_loss == "margin"
    assert read_metrics(folder)["folds"] == 4


@pytest.fixture
def brivl_paths(tmp_path):
    """Images with Chinese captions to train, choose and evaluate on; two test images are in the training list."""
    rows, found = load_emoji7()["test"], {}
    for prefix, numbers in (("", range(12)), ("validation_", range(20, 24)), ("test_", range(10, 16))):
        folder = tmp_path / f"{prefix}images"
        folder.mkdir()
        lines = []
        for number in numbers:
            rows[number]["image"].save(folder / f"{number}.png")
            lines.append(json.dumps({"image": f"{number}.png", "text": [rows[number]["name_zh"], "猫"]}))
        (folder / "captions_zh.jsonl").write_text("\n".join(lines), "utf-8")
        found[f"{prefix}captions"] = str(folder)
    save_tiny_folder(tmp_path / "brivl")
    no_regions = dict.fromkeys(("regions", "validation_regions", "test_regions"))
    return found | no_regions | {"init_from": str(tmp_path / "brivl"), "test_caption": 1}


def test_two_towers_are_tuned_and_judged_by_the_same_command(brivl_paths, tmp_path):
    recipe = write_recipe(tmp_path / "r.yaml", "retrieval_tiny", **brivl_paths, per_device_train_batch_size=5)
    folder = main([recipe, *SMOKE, *STEPS, "--output_dir", str(tmp_path / "out")])
    metrics = read_metrics(folder)
    assert metrics["model_type"] == "brivl"
    assert_opens_like(next(folder.glob("checkpoint-*")), folder)
    assert metrics["left_out_of_training"] == 2
    assert metrics["images"] == {"zh": 6}
    assert metrics["captions"] == {"zh": 6}
    low, high = metrics["recalls"]["zh"]["interval"]
    assert low <= metrics["recalls"]["zh"]["mean_recall"] <= high
    before, after = (AutoModel.from_pretrained(path).state_dict() for path in (brivl_paths["init_from"], folder))
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_other_images_and_captions_of_brivl_are_refused_by_a_resumed_run(brivl_paths, tmp_path):
    recipe = write_recipe(tmp_path / "r.yaml", "retrieval_tiny", **brivl_paths, per_device_train_batch_size=5)
    options = [recipe, *SMOKE, "--max_steps", "1", "--output_dir", str(tmp_path / "out"), "--resume"]
    main(options)
    image = Path(brivl_paths["captions"]) / "3.png"
    before = image.read_bytes()
    shutil.copy(image.with_name("4.png"), image)
    with pytest.raises(ValueError, match=r"otherwise: data\.images differs\. "):
        main(options)
    image.write_bytes(before)
    captions = image.with_name("captions_zh.jsonl")
    captions.write_text(captions.read_text("utf-8").replace(json.dumps("猫"), json.dumps("狗"), 1), "utf-8")
    with pytest.raises(ValueError, match=r"otherwise: data\.captions differs\. "):
        main(options)


def test_image_of_brivl_that_only_has_the_name_of_a_judged_one_is_trained_on_and_counted(brivl_paths):
    folder = Path(brivl_paths["captions"])
    shutil.copy(folder / "0.png", folder / "10.png")
    captions = {name: value for name, value in brivl_paths.items() if name.endswith("captions")}
    job = BriVLRetrieval(RetrievalArguments(brivl_paths["init_from"]), RetrievalData(**captions))
    assert (job.leaked, len(job.rows["training"]["zh"])) == (1, 11)
    assert job.report["namesakes_kept"] == 1
    assert "10.png, have the name of one that is evaluated on but look different; they stay" in job.summary[-1]


@pytest.mark.slow
def test_training_moves_the_recalls_up(tmp_path):
    """Images of one of four things, and captions that name it."""
    torch.manual_seed(0)
    model = save_pretrained_mlmm(tmp_path / "model", initializer_range=0.2, normalize_region_features=True)
    found = {"validation_regions": None, "validation_captions": None, "init_from": model, "test_caption": 1}
    for prefix, count in (("", 80), ("test_", 4)):
        images = {f"{prefix}{number}.png": [number % 4] for number in range(count)}
        write_regions(tmp_path / f"{prefix}regions", images)
        write_captions(tmp_path / f"{prefix}captions", images)
        found |= {f"{prefix}{kind}": str(tmp_path / f"{prefix}{kind}") for kind in ("regions", "captions")}
    recipe = write_recipe(
        tmp_path / "r.yaml", "retrieval_tiny", **found, num_wrong=1, hard_negatives={}, per_device_train_batch_size=8
    )
    options = ["--max_steps", "400", "--learning_rate", "2e-3", "--output_dir", str(tmp_path / "out")]
    options += ["--eval_strategy", "no", "--load_best_model_at_end", "false", "--save_strategy", "no"]
    metrics = read_metrics(main([recipe, *SMOKE, *options]))
    recalls = [metrics["recalls"][language][f"{way}_R@1"] for language in ("en", "zh") for way in ("t2i", "i2t")]
    assert min(recalls) >= 75  # chance is 25
    assert metrics["without_regions"]["en"]["t2i_R@1"] <= 25
