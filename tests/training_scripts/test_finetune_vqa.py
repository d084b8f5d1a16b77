import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers.finetuning.vqa_sample import TEST, TRAIN, VAL, draw, write_questions, write_sample, write_things
from helpers.mlmm.folder import write_model
from helpers.training import recipes
from helpers.training.checkpoints import assert_opens_like
from helpers.training.recipes import read_recipe, write_recipe
from safetensors.torch import load_file
from transformers import BertConfig, pipeline
from typer.testing import CliRunner
from wenlan.modeling_mlmm import MLMMForVisualQuestionAnswering
from wenlan.training.identity import IDENTITY
from wenlan.training.vqa.model import build_vqa_model
from wenlan.training_scripts.finetune_vqa import main

from wenlan.cli.main import app

SMOKE = [*recipes.SMOKE, "--per_device_train_batch_size", "4", "--logging_steps", "4", "--min_answer_questions", "1"]


def read_json(path):
    return json.loads(path.read_text("utf-8"))


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    torch.set_num_threads(1)
    return write_sample(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def recipe(fields, tmp_path_factory):
    """The tiny recipe with the sample, without a control."""
    return write_recipe(tmp_path_factory.mktemp("recipe") / "sample.yaml", "vqa_tiny", **fields, with_control=False)


@pytest.fixture(scope="module")
def tuned(recipe, tmp_path_factory):
    """The folder after twelve steps, with its control."""
    folder = tmp_path_factory.mktemp("runs") / "out"
    options = ["--max_steps", "12", "--with_control", "true", "--eval_strategy", "steps", "--eval_steps", "6"]
    return main([recipe, *SMOKE, *options, "--output_dir", str(folder)])


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    """A recipe with images of one of four things, whose features tell which."""
    folder = tmp_path_factory.mktemp("things")
    fields = write_things(folder, {TRAIN: range(40), VAL: range(40, 60)})
    return write_recipe(folder / "things.yaml", "vqa_tiny", **fields, learning_rate=3e-3, max_steps=70)


@pytest.fixture(scope="module")
def looking(things, tmp_path_factory):
    """The folder of a model that looks at images, with its control."""
    folder = tmp_path_factory.mktemp("looking") / "out"
    return main([things, *SMOKE, "--per_device_train_batch_size", "16", "--output_dir", str(folder)])


def test_pipeline_answers_about_a_image_with_the_answers_of_training(tuned):
    assert (tuned / "detector" / "model.safetensors").is_file()
    answers = pipeline("wenlan-vqa", model=str(tuned), device="cpu")(image=draw(8), question="What color is it?")
    assert {one["answer"] for one in answers} <= {"red", "green", "blue", "yes", "no", "1", "2", "3"}


def test_answers_for_the_test_server_are_in_its_form(tuned):
    results = read_json(tuned / f"v2_OpenEnded_mscoco_{TEST}_results.json")
    assert [one["question_id"] for one in results] == [11000, 11001, 11002, 12000, 12001, 12002]
    assert all(set(one) == {"question_id", "answer"} and isinstance(one["answer"], str) for one in results)
    assert len(read_json(tuned / f"v2_OpenEnded_mscoco_{VAL}_results.json")) == 12


def test_metrics_stand_beside_oracle_majority_and_control(tuned):
    metrics = read_json(tuned / "metrics.json")
    english = metrics["languages"]["en"]
    assert set(english["question_types"]) == {"what color is", "is there a", "how many"}
    assert set(english["answer_types"]) == {"other", "yes/no", "number"}
    assert english["count"] == 12
    assert english["question_types"]["how many"]["oracle_accuracy"] == 100  # "three" of six is "3" of eight
    control = read_json(tuned / "question_only" / "metrics.json")
    assert control["question_only"]
    assert english["question_only"] == control["languages"]["en"]["accuracy"]
    assert metrics["comparable"] is False
    assert (metrics["seed"], metrics["package"].split()[0]) == (0, "wenlan")


def test_official_accuracy_is_computed_while_training(tuned):
    logs = read_json(tuned / "trainer_state.json")["log_history"]
    evaluated = [one for one in logs if "eval_accuracy" in one]
    assert [one["step"] for one in evaluated] == [6, 12]
    last = read_json(tuned / "metrics.json")["languages"]["en"]
    assert evaluated[-1]["eval_accuracy"] == pytest.approx(last["accuracy"])
    assert evaluated[-1]["eval_accuracy_en_number"] == pytest.approx(last["answer_types"]["number"]["accuracy"])


def test_questions_are_answered_by_looking_at_images(looking):
    """Which of four things is in an unseen image cannot be guessed from the question."""
    english = read_json(looking / "metrics.json")["languages"]["en"]
    assert english["accuracy"] >= 90
    assert english["question_only"] <= 50
    assert english["majority"] <= 50


def test_predicting_alone_gives_the_same_answers_and_no_model(looking, things, tmp_path):
    options = ["--init_from", str(looking), "--predict_only", "true", "--output_dir", str(tmp_path / "again")]
    again = main([things, *SMOKE, *options])
    assert not (again / "model.safetensors").exists()
    first, second = (read_json(folder / "metrics.json")["languages"]["en"] for folder in (looking, again))
    assert first["accuracy"] == second["accuracy"]
    assert "majority" not in second
    name = f"v2_OpenEnded_mscoco_{VAL}_results.json"
    assert read_json(looking / name) == read_json(again / name)


def test_last_batch_is_answered_even_where_training_drops_it(recipe, tmp_path):
    options = ["--dataloader_drop_last", "true", "--per_device_eval_batch_size", "7", "--output_dir", str(tmp_path)]
    folder = main([recipe, *SMOKE, "--max_steps", "1", *options])
    questions = sum(file["questions"] for file in read_json(folder / "data_report.json")["test"])
    answers = sum(len(read_json(path)) for path in folder.glob("v2_*_results.json"))
    assert answers == questions > 0
    assert questions % 7


def test_renamed_answer_is_refused_by_a_resumed_run(tmp_path):
    fields = write_sample(tmp_path / "sample")
    recipe = write_recipe(tmp_path / "sample.yaml", "vqa_tiny", **fields, with_control=False)
    options = [recipe, *SMOKE, "--max_steps", "2", "--save_strategy", "steps", "--save_steps", "1"]
    options += ["--output_dir", str(tmp_path / "out"), "--resume"]
    folder = main(options)
    assert_opens_like(folder / "checkpoint-2", folder)
    answers = read_json(folder / "config.json")["id2label"].values()
    started = build_vqa_model(str(folder / "checkpoint-2"), list(answers)).state_dict()
    assert all(torch.equal(value, started[name]) for name, value in load_file(folder / "model.safetensors").items())
    for file in (tmp_path / "sample").rglob("*annotations.json"):
        file.write_text(file.read_text("utf-8").replace('"blue"', '"azure"'), "utf-8")
    with pytest.raises(ValueError, match=r"otherwise: data\.questions differs, model\.id2label"):
        main(options)


def test_resumed_run_gives_the_same_bits(recipe, tmp_path):
    options = [recipe, *SMOKE, "--max_steps", "8", "--save_strategy", "steps", "--save_steps", "2"]  # of 3 an epoch
    options += ["--gradient_accumulation_steps", "2", "--save_total_limit", "9", "--output_dir", str(tmp_path)]
    whole = load_file(main(options) / "model.safetensors")
    for step in (4, 6, 8):
        shutil.rmtree(tmp_path / f"checkpoint-{step}")
    resumed = load_file(main([*options, "--resume"]) / "model.safetensors")
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


@pytest.mark.parametrize("answers", [["red", "green"], ["red", "green", "blue", "yes", "no", "1", "2", "many"]])
def test_other_answers_than_those_of_the_head_are_refused(recipe, tuned, tmp_path, answers):
    (tmp_path / "answers.json").write_text(json.dumps(answers), "utf-8")
    options = ["--answers", str(tmp_path / "answers.json"), "--init_from", str(tuned), "--output_dir", str(tmp_path)]
    message = "has 2 answers and the head of .* 8" if len(answers) == 2 else "Answer 0 is 'red' in .* and '.*' in"
    with pytest.raises(ValueError, match=message):
        main([recipe, *SMOKE, "--max_steps", "1", *options])


def test_fine_tuning_goes_on_with_the_answers_of_its_model(recipe, tuned, tmp_path):
    options = ["--init_from", str(tuned), "--min_answer_questions", "3", "--output_dir", str(tmp_path)]
    folder = main([recipe, *SMOKE, "--max_steps", "1", *options])
    assert read_json(folder / "config.json")["id2label"] == read_json(tuned / "config.json")["id2label"]


def test_answers_of_a_pretrained_model_are_refused(recipe, tmp_path):
    with pytest.raises(ValueError, match="is not for questions"):
        main([recipe, *SMOKE, "--predict_only", "true", "--output_dir", str(tmp_path)])


def test_head_without_names_asks_for_its_list(recipe, tmp_path):
    model = write_model(tmp_path / "nameless", MLMMForVisualQuestionAnswering, id2label=None, label2id=None)
    with pytest.raises(ValueError, match="7 answers without names: give its own list"):
        main([recipe, *SMOKE, "--init_from", str(model), "--output_dir", str(tmp_path / "out")])


def test_images_of_the_test_are_taken_out_of_training_and_counted(recipe, fields, tmp_path):
    paths = [write_questions(tmp_path, TRAIN, range(1, 7)), write_questions(tmp_path / "t", TRAIN, [2, 3])]
    options = ["--questions", paths[0], "--test_questions", paths[1], "--output_dir", str(tmp_path / "out")]
    folder = main([recipe, *SMOKE, "--max_steps", "1", *options])
    training = read_json(folder / "data_report.json")["training"][0]
    assert training["questions"] == 12
    assert training["left_out"] == {"image of the test": 6}


def test_answers_to_a_file_of_another_name_stand_under_that_name(recipe, fields, tuned, tmp_path):
    file = str(shutil.copy(fields["test_questions"][1], tmp_path / "mine.json"))
    options = ["--predict_only", "true", "--init_from", str(tuned), "--test_questions", file]
    folder = main([recipe, *SMOKE, *options, "--output_dir", str(tmp_path / "out")])
    assert len(read_json(folder / "mine_results.json")) == 6


def test_two_languages_share_a_model_and_are_judged_apart(recipe, fields, tmp_path):
    english = Path(fields["test_questions"][0])
    japanese = shutil.copy(english, tmp_path / english.name.replace("mscoco", "mscoco_ja"))
    shutil.copy(
        english.with_name(f"v2_mscoco_{VAL}_annotations.json"), tmp_path / f"v2_mscoco_ja_{VAL}_annotations.json"
    )
    options = ["--questions", *fields["questions"] * 2, "--test_questions", str(english), str(japanese)]
    options += ["--languages", "en", "ja", "--test_languages", "en", "ja", "--output_dir", str(tmp_path)]
    folder = main([recipe, *SMOKE, "--max_steps", "1", *options])
    languages = read_json(folder / "metrics.json")["languages"]
    assert {language: row["count"] for language, row in languages.items()} == {"en": 12, "ja": 12}
    assert "three" in read_json(folder / "config.json")["label2id"]  # only English answers become digits


def test_command_passes_options_on_and_answers_mistakes_in_a_line(recipe, tmp_path):
    options = ["--answers", str(tmp_path / "none.json"), "--output_dir", str(tmp_path)]
    result = CliRunner().invoke(app, ["finetune-vqa", recipe, *SMOKE, *options])
    assert result.exit_code == 1
    assert "none.json" in result.output
    assert "Traceback" not in result.output


def test_control_of_another_run_does_not_pass_for_that_of_this_one(recipe, tuned, tmp_path):
    folder = shutil.copytree(tuned, tmp_path / "run")
    (folder / IDENTITY).unlink()
    shutil.rmtree(folder / "checkpoint-12")
    options = ["--with_control", "true", "--resume", "--output_dir", str(folder)]
    with pytest.raises(ValueError, match=r"question_only was trained otherwise: max_steps is 12 there and 13"):
        main([recipe, *SMOKE, "--max_steps", "13", *options])


def test_run_does_not_go_on_in_the_folder_of_one_that_was_trained_otherwise(recipe, tuned):
    options = ["--learning_rate", "0.5", "--resume", "--output_dir", str(tuned)]
    with pytest.raises(ValueError, match=r"was trained otherwise: learning_rate is 0.001 there and 0.5 now"):
        main([recipe, *SMOKE, "--max_steps", "12", *options])


def test_model_that_is_no_mlmm_is_refused(recipe, tmp_path):
    BertConfig().save_pretrained(tmp_path / "bert")
    for path, message in {"bert": "holds a model of type 'bert'", "gone": "There is no model folder"}.items():
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            main([recipe, *SMOKE, "--init_from", str(tmp_path / path), "--output_dir", str(tmp_path / "out")])


def test_recipe_without_a_model_says_so(fields, tmp_path):
    recipe = write_recipe(tmp_path / "r.yaml", "vqa_tiny", **fields | {"init_from": None})
    with pytest.raises(ValueError, match="Give init_from"):
        main([recipe, *SMOKE, "--with_control", "false", "--output_dir", str(tmp_path)])


def test_base_recipe_has_the_settings_of_uniter():
    recipe = read_recipe("vqa_base")
    assert (recipe["learning_rate"], recipe["head_lr_factor"], recipe["max_steps"]) == (8e-5, 10, 6000)
