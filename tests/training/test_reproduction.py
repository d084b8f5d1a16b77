"""What the commands of tables 3 and 4 share."""

import json

import pytest
from wenlan.training.reproduction import is_finished, name_test_sets, parse_table_options, run_once


@pytest.fixture
def recipes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(f"output_dir: {name}", "utf-8")
    return [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]


def parse(*argv, settings=("en", "all")):
    argv = [str(one) for one in argv]
    return parse_table_options(
        argv, [], command="table3", recipe="retrieval_tiny", settings=settings, reserved=["--setting"]
    )


def write_metrics(argv):
    """A run: it writes what it was told as its metrics."""
    folder = argv[argv.index("--output_dir") + 1]
    with open(f"{folder}/metrics.json", "w") as file:
        json.dump({"argv": argv}, file)


def test_recipes_stand_first_and_unknown_options_are_handed_on(recipes, tmp_path):
    options = parse(*recipes, "--max_steps", 5, "--settings", "all", "--output_dir", tmp_path, "--bf16", "false")
    assert options.recipes == recipes
    assert options.settings == ["all"]
    assert options.others == ["--max_steps", "5", "--bf16", "false"]
    assert not options.resume
    assert not options.comparable
    assert [options.folder(recipe).name for recipe in recipes] == ["a", "b"]


def test_one_recipe_has_no_folder_of_its_own(tmp_path):
    options = parse("--output_dir", tmp_path)
    assert options.recipes == ["retrieval_tiny"]
    assert options.folder("retrieval_tiny") == tmp_path


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--setting", "en"], "--setting is set by table3 itself"),
        (["--setting=en"], "--setting is set by table3 itself"),
        (["--test_sets", "A", "B"], "2 different test_sets for 1 recipes"),
        (["retrieval_tiny", "retrieval_tiny"], "two recipes have one name"),
        (["retrieval_tiny", "retrieval_base", "--test_sets", "A", "A"], "1 different test_sets for 2 recipes"),
    ],
)
def test_what_cannot_work_is_refused(argv, message):
    with pytest.raises(ValueError, match=message):
        parse(*argv)


def test_several_processes_are_told_what_to_do(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="one process; train with torchrun into the folders"):
        parse()


def test_unknown_recipe_is_named():
    with pytest.raises(FileNotFoundError, match="no_such"):
        parse("no_such")


def test_finished_run_is_not_made_again(recipes, tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    runs = []

    def main(argv):
        runs.append(argv)
        write_metrics(argv)

    options = parse(recipes[0], "--max_steps", 5)
    first = run_once(folder, recipes[0], options, main, "--setting", "en")
    assert first["argv"] == [recipes[0], "--max_steps", "5", "--setting", "en", "--output_dir", str(folder)]
    again = run_once(folder, recipes[0], parse(recipes[0], "--max_steps", 5, "--resume"), main)
    assert again == first
    assert len(runs) == 1
    assert "is done already" in capsys.readouterr().out


def test_finished_run_with_other_options_or_recipe_is_refused(recipes, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    run_once(folder, recipes[0], parse(recipes[0], "--max_steps", 5), write_metrics)
    with pytest.raises(ValueError, match=r"made otherwise: options is .*'5'.* there and .*'6'.* now"):
        run_once(folder, recipes[0], parse(recipes[0], "--max_steps", 6, "--resume"), write_metrics)
    with pytest.raises(ValueError, match=r"made otherwise: recipe\.output_dir is 'a' there and 'b' now"):
        run_once(folder, recipes[1], parse(recipes[1], "--max_steps", 5, "--resume"), write_metrics)


def test_run_that_failed_may_be_made_with_other_options(recipes, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()

    def fail(argv):
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        run_once(folder, recipes[0], parse(recipes[0], "--max_steps", 5), fail)
    options = parse(recipes[0], "--max_steps", 6, "--resume")
    assert run_once(folder, recipes[0], options, write_metrics)["argv"][-1] == "--resume"


def test_run_of_another_command_is_taken_as_it_is(recipes, tmp_path, capsys):
    (tmp_path / "metrics.json").write_text("{}", "utf-8")
    assert run_once(tmp_path, recipes[0], parse(recipes[0], "--resume"), write_metrics) == {}
    assert "taken as it is" in capsys.readouterr().out


def test_finished_run_is_kept_only_when_told_so(tmp_path):
    assert not is_finished(tmp_path, parse())
    (tmp_path / "metrics.json").write_text("{}", "utf-8")
    assert is_finished(tmp_path, parse("--resume"))
    with pytest.raises(ValueError, match="holds a finished run: give --resume"):
        is_finished(tmp_path, parse())


def test_test_sets_are_named_by_the_user_by_their_files_or_by_the_recipe(recipes, tmp_path):
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    (scenes / "scenes.json").write_text("{}", "utf-8")
    assert name_test_sets(parse(*recipes, "--test_sets", "A", "B C"), [scenes, None]) == ["A", "B C"]
    assert name_test_sets(parse(*recipes), [scenes, tmp_path]) == ["EmojiScenes", "b"]
    assert name_test_sets(parse(*recipes), [scenes, scenes]) == ["a", "b"]
    assert name_test_sets(parse(recipes[0]), [None]) == ["a"]
