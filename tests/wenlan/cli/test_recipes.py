import pytest
from typer.testing import CliRunner
from wenlan.training.recipe import find_recipe, shipped_recipes

from wenlan.cli.main import app

run = CliRunner().invoke


def test_list_prints_each_recipe_with_a_sentence():
    lines = run(app, ["recipes", "list"]).stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(shipped_recipes())
    sentences = dict(line.split(maxsplit=1) for line in lines)
    assert sentences["brivl_tiny"].endswith(
        "The demo, a small BriVL for emoji7 in seven languages: minutes on 2 cores."
    )


def test_show_prints_the_file():
    assert run(app, ["recipes", "show", "vqa_tiny"]).stdout == find_recipe("vqa_tiny").read_text("utf-8")


def test_copy_writes_a_file_and_the_command_that_uses_it(tmp_path):
    output = tmp_path / "new" / "mine.yaml"
    result = run(app, ["recipes", "copy", "detector_tiny", "--output", str(output)])
    assert output.read_bytes() == find_recipe("detector_tiny").read_bytes()
    assert f"wenlan train-detector {output}" in result.stdout


def test_copy_takes_the_name_of_the_recipe_by_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(app, ["recipes", "copy", "brivl_1.0"])
    assert (tmp_path / "brivl_1.0.yaml").is_file()


def test_copy_does_not_overwrite(tmp_path):
    (tmp_path / "mine.yaml").write_text("seed: 1")
    result = run(app, ["recipes", "copy", "detector_tiny", "--output", str(tmp_path / "mine.yaml")])
    assert result.exit_code == 1
    assert "exists already" in result.stderr
    assert (tmp_path / "mine.yaml").read_text() == "seed: 1"


@pytest.mark.parametrize("command", ["show", "copy"])
def test_unknown_recipe_is_one_line_with_the_known_ones(command):
    result = run(app, ["recipes", command, "brivl_huge"])
    assert result.exit_code == 1
    assert "brivl_tiny_scratch" in result.stderr
