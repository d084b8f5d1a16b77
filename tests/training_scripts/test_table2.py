import csv
import json

import numpy as np
import pytest
import torch
from helpers.few_shot import CLASSES, save_models, text_of, write_csldcp, write_images, write_rows
from PIL import Image
from typer.testing import CliRunner
from wenlan.data.csldcp.load import find_csldcp, read_csldcp
from wenlan.evaluation.few_shot.draws import accuracy
from wenlan.evaluation.few_shot.floors import TfidfFloors
from wenlan.evaluation.tables.few_shot import MARK
from wenlan.training.few_shot import csldcp_task, prompt_tuning
from wenlan.training_scripts.table2 import main

from wenlan.cli.main import app

ROWS = ["text only", "visual only", "both", "both, permuted", "both, noise images"]


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """Options of a small table."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("few_shot")
    models = save_models(root / "models")
    pool = write_images(root / "pool", 9)
    options = {
        "fewclue": write_csldcp(root / "csldcp"),
        "text_encoder": models["encoder"],
        "further_steps": 2,
        "images": pool,
        "draws": 1,
        "context_length": 0,
    }
    return [models["brivl"], *(str(word) for name, value in options.items() for word in (f"--{name}", value))]


@pytest.fixture(scope="module")
def made(words, tmp_path_factory):
    torch.set_num_threads(1)
    return main([*words, "--output_dir", str(tmp_path_factory.mktemp("out") / "table2")])


def read_metrics(folder):
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    del metrics["wall_seconds"]
    return metrics


def test_table_has_all_rows_with_their_draws_and_differences(made):
    metrics = read_metrics(made)
    results = metrics["results"]
    towers = ["encoder alone", "encoder, further trained on texts", "brivl", "untrained tower"]
    assert list(results) == ["TF-IDF", *(f"{name}{more}" for name in towers for more in ("", ", centred"))]
    assert [name for name in results["brivl"] if "nearest" not in name] == ROWS
    assert metrics["n"] == {"texts": 12, "classes": 3, "draws": 5}
    assert {row["n"] for rows in results.values() for row in rows.values()} == {5}
    for name in ROWS:
        ours, alone = (
            results[group][row]["accuracies"] for group, row in (("brivl", name), ("encoder alone", "text only"))
        )
        assert results["brivl"][name]["difference"]["mean"] == pytest.approx(np.subtract(ours, alone).mean())
    assert "difference" not in results["encoder alone"]["text only"]
    assert metrics["floors"] == {"chance": pytest.approx(100 / 3), "most frequent class of the test": 50}
    assert metrics["comparable"] is False
    assert metrics["paper_reference"]["metrics"]["BriVL 2.0"] == [46.47]


def test_floors_are_those_of_counted_characters(made, words):
    data = read_csldcp(find_csldcp(words[2]))
    wanted = [100 * accuracy(TfidfFloors(data, split).predict("one sample", 0), data.test.labels) for split in range(5)]
    assert read_metrics(made)["results"]["TF-IDF"]["nearest: one sample"]["accuracies"] == pytest.approx(wanted)


def test_learned_vectors_change_what_is_found(made, words, tmp_path):
    options = ["--context_length", "2", "--visual", "none", "--text_encoder", "none"]
    metrics = read_metrics(main([*words, *options, "--output_dir", str(tmp_path / "out")]))
    assert metrics["tuning"]["context_length"] == 2
    rows = [(folder / "rows").glob("brivl-text-only*") for folder in (made, tmp_path / "out")]
    assert len({next(row).read_text("utf-8") for row in rows}) == 2


def test_files_of_the_table_say_the_same(made):
    text = (made / "table2.md").read_text("utf-8")
    assert MARK in text
    rows = list(csv.DictReader((made / "table2.csv").read_text("utf-8").splitlines()))
    cells = {(row["group"], row["row"], row["column"]): row["value"] for row in rows}
    mean = read_metrics(made)["results"]["brivl"]["both"]["mean"]
    assert float(cells["brivl", "both", "accuracy"]) == mean
    assert f"**{mean:.2f}**" in text
    assert Image.open(made / "table2.png").width > 500
    classes = list(csv.DictReader((made / "classes.csv").read_text("utf-8").splitlines()))
    assert [row["class"] for row in classes] == CLASSES
    assert classes[2]["brivl, both"] == ""  # does not occur
    own = [float(row["brivl, both"]) for row in classes[:2]]
    assert np.mean(own) == pytest.approx(mean, abs=0.01)


def test_finished_table_is_made_again_from_its_rows_alone(made, words, monkeypatch):
    before, table = read_metrics(made), (made / "table2.md").read_bytes()
    monkeypatch.setattr(csldcp_task.Row, "predict", None, raising=False)
    monkeypatch.setattr(prompt_tuning, "tune_prompts", None)
    main([*words, "--output_dir", str(made), "--resume"])
    assert read_metrics(made) == before
    assert (made / "table2.md").read_bytes() == table


def test_json_is_alone_on_stdout(made, words):
    result = CliRunner().invoke(app, ["table2", *words, "--output_dir", str(made), "--resume", "--json"])
    assert json.loads(result.stdout) == json.loads((made / "metrics.json").read_text("utf-8"))
    assert "The table: " in result.stderr


def test_killed_run_resumes_to_the_same_digits(made, words, tmp_path, monkeypatch, capsys):
    whole, calls = csldcp_task.DrawStore.add, []

    def add(self, *args):
        calls.append(args)
        if len(calls) == 40:
            raise KeyboardInterrupt
        whole(self, *args)

    monkeypatch.setattr(csldcp_task.DrawStore, "add", add)
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--output_dir", str(tmp_path / "out")])
    assert stopped.value.code == 130
    assert f"To resume: wenlan table2 {words[0]} --fewclue" in capsys.readouterr().err
    monkeypatch.undo()
    with pytest.raises(ValueError, match="give --resume to go on with it"):
        main([*words, "--output_dir", str(tmp_path / "out")])
    main([*words, "--output_dir", str(tmp_path / "out"), "--resume"])
    assert read_metrics(tmp_path / "out") == read_metrics(made)


def test_run_of_other_settings_is_not_resumed(made, words):
    with pytest.raises(ValueError, match="context_length is 0 there and 2 now"):
        main([*words, "--output_dir", str(made), "--resume", "--context_length", "2"])


def test_images_retrieved_for_texts_are_one_row_more(made, words, tmp_path):
    options = ["--visual_query", "retrieve", "--further_steps", "0"]
    folder = main([*words, *options, "--output_dir", str(tmp_path / "out")])
    own, standard = (read_metrics(one)["results"]["brivl"] for one in (folder, made))
    assert own.keys() - standard.keys() == {"both, and images retrieved for the text"}
    assert {name: own[name] for name in standard} == standard
    assert "the nearest of pool, compared with visual prototypes" in (folder / "table2.md").read_text("utf-8")
    with pytest.raises(ValueError, match="visual_query is 'retrieve' there and 'none' now"):
        main([*words, *options, "--visual_query", "none", "--output_dir", str(folder), "--resume"])


def test_penalties_are_chosen_apart_from_the_standard_rows_and_from_the_test(made, words, tmp_path):
    own = [*words, "--visual", "none", "--further_steps", "0", "--use_dev", "--output_dir"]
    folder = main([*own, str(tmp_path / "out")])
    metrics = read_metrics(folder)
    found, standard = (one["results"]["encoder alone"] for one in (metrics, read_metrics(made)))
    assert {name: found[name] for name in standard} == standard
    chosen = found["penalty chosen: text only"]
    assert len(chosen["residual_penalty"]) == 5
    assert set(chosen["residual_penalty"]) <= set(metrics["chosen_among"]) == set(prompt_tuning.PENALTIES)
    text = (folder / "table2.md").read_text("utf-8")
    assert "penalty chosen on texts that are not drawn" in text
    assert "each draw takes the one among 1, 10, 30, 100, 1000" in text
    main([*own, str(folder), "--resume"])
    assert read_metrics(folder) == metrics
    rows = [(CLASSES[number % 3], text_of(CLASSES[0], number)) for number in range(5)]
    write_rows(write_csldcp(tmp_path / "csldcp") / "test_public.json", rows)
    other = [word if word != words[2] else str(tmp_path / "csldcp") for word in own]
    again = read_metrics(main([*other, str(tmp_path / "other")]))["results"]["encoder alone"]
    assert again["penalty chosen: text only"]["accuracies"] != chosen["accuracies"]
    assert again["penalty chosen: text only"]["residual_penalty"] == chosen["residual_penalty"]


def test_training_sets_without_texts_to_choose_on_are_an_error(words, tmp_path):
    folder = write_csldcp(tmp_path / "csldcp")
    write_rows(folder / "train_3.json", [(name, text_of(name, 1)) for name in CLASSES])
    own = [word if word != words[2] else str(folder) for word in words]
    with pytest.raises(ValueError, match="use_dev chooses on texts of a training set that are not drawn"):
        main([*own, "--use_dev", "--output_dir", str(tmp_path / "out")])


def test_models_and_draws_may_be_added_to_a_table(words, tmp_path):
    encoder = [*words[1:], "--visual", "none", "--further_steps", "0", "--output_dir", str(tmp_path / "out")]
    first = read_metrics(main(encoder))["results"]
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "rows").iterdir()}
    found = read_metrics(main([words[0], *encoder, "--draws", "2", "--resume"]))["results"]
    assert [name for name in found if "centred" not in name] == ["TF-IDF", "encoder alone", "brivl", "untrained tower"]
    assert found["encoder alone"]["text only"]["accuracies"][:5] == first["encoder alone"]["text only"]["accuracies"]
    assert made.keys() < set((tmp_path / "out" / "rows").iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--visual_query", "imagine"], "every text of the test set"),
        (["--visual_query", "retrieve", "--visual", "none"], "visual_query compares images of a text"),
        (["--visual_query", "retrieve", "--task", "colour"], "The colour task tunes nothing"),
        (["--use_dev", "--masked_lm", "x", "--method", "pet"], "use_dev and visual_query are of brivl_prompt"),
        (["--method", "pet"], "pet and ptuning need --masked_lm"),
        (["--method", "knn"], "There is no method 'knn'; give some of brivl_prompt, pet, ptuning"),
        (["--languages", "xx"], "emoji7 has no language 'xx'"),
        (["--draws", "0"], "draws is 0; give a finite number from 1"),
        (["--drwas", "1"], r"Unknown options: --drwas \(did you mean --draws"),
        (["--fewclue", "/no/such"], r"holds no labels_all\.txt"),
        (["--visual", "images"], "has no folder for 3 classes"),
        (["--long", "middle"], "long"),
        (["--device", "gpu"], "The device 'gpu' cannot be used"),
    ],
)
def test_options_that_cannot_be_are_told(words, tmp_path, options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        main([*words, *options, "--output_dir", str(tmp_path / "out")])


def test_nothing_to_compare_is_an_error(words, tmp_path):
    with pytest.raises(ValueError, match="There is nothing to compare"):
        main([*words[1:], "--text_encoder", "none", "--output_dir", str(tmp_path / "out")])


def test_masked_language_model_is_tuned_by_both_methods(words, tmp_path, monkeypatch):
    root = tmp_path / "models"
    model = save_models(root)["masked_lm"]
    (tmp_path / "disciplines.tsv").write_text("\n".join(f"{name}\t{name[-2:]}" for name in CLASSES), "utf-8")
    options = ["--masked_lm", model, "--method", "pet", "ptuning", "--limit", "4"]
    options += ["--disciplines", str(tmp_path / "disciplines.tsv")]
    folder = main([*words[1:], *options, "--output_dir", str(tmp_path / "out")])
    metrics = read_metrics(folder)
    assert list(metrics["results"]["masked_lm"]) == ["PET", "p-tuning"]
    assert metrics["n"]["texts"] == 4
    rows = list(csv.DictReader((folder / "confusion.csv").read_text("utf-8").splitlines()))
    of_pet = [row for row in rows if row["row"] == "masked_lm, PET" and row["discipline"] == "文学"]
    assert sum(float(row["percent"]) for row in of_pet) == pytest.approx(100)


def test_label_words_of_wrong_length_are_refused(words, tmp_path):
    model = save_models(tmp_path / "models")["masked_lm"]
    (tmp_path / "words.tsv").write_text("天文学\t天文学\n作物学\t作物\n农业工程\t农业\n", "utf-8")
    options = ["--masked_lm", model, "--method", "pet", "--label_words", str(tmp_path / "words.tsv")]
    with pytest.raises(ValueError, match="The label word of 天文学 is '天文学'; give 2 characters"):
        main([*words[1:], *options, "--output_dir", str(tmp_path / "out")])


def test_texts_of_unknown_tokens_alone_are_counted_and_stay(words, tmp_path):
    folder = write_csldcp(tmp_path / "csldcp")
    write_rows(folder / "test_public.json", [("天文学", "嗨喂嗨"), ("作物学", "水稻")])
    own = [word if word != words[2] else str(folder) for word in words]
    metrics = read_metrics(main([*own, "--visual", "none", "--output_dir", str(tmp_path / "out")]))
    assert metrics["n"]["texts"] == 2
    assert set(metrics["only_unknown_tokens"].values()) == {1}
    assert "nothing of 1 test texts is known" in (tmp_path / "out" / "table2.md").read_text("utf-8")


def test_colour_of_the_named_thing_is_a_table_too(words, tmp_path):
    folder = main([*words, "--task", "colour", "--output_dir", str(tmp_path / "out")])
    metrics = read_metrics(folder)
    assert metrics["n"]["draws"] == 8
    assert list(metrics["results"]["brivl"]) == ["text only", "visual only", "both", "both, permuted"]
    assert "minus_permuted" in metrics["results"]["brivl"]["both"]
    assert 0 <= metrics["results"]["untrained tower"]["text only"]["mean"] < 40
    assert "Dominant colour" in (folder / "table2.md").read_text("utf-8")


def test_command_answers_mistakes_in_a_line(words, tmp_path):
    options = ["--visual_query", "imagine", "--json", "--output_dir", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["table2", *words, *options])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "imagine" in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()
