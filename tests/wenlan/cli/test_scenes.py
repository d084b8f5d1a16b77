from typer.testing import CliRunner

from wenlan.cli.main import app

run = CliRunner().invoke
SMALL = ["--num-classes", "16", "--canvas", "128"]


def test_splits_are_drawn_and_a_second_run_says_that_they_are_there(tmp_path):
    command = [
        "data",
        "scenes",
        "--output",
        str(tmp_path),
        "--split",
        "test",
        "--split",
        "test_style",
        "--size",
        "6",
        *SMALL,
    ]
    first = run(app, command)
    assert first.exit_code == 0, first.output
    assert f"{tmp_path / 'test'}  6 scenes\n" in first.stdout
    assert len(list((tmp_path / "test_style" / "images").iterdir())) == 6
    second = run(app, command)
    assert f"{tmp_path / 'test_style'}  6 scenes, complete already\n" in second.stdout


def test_all_splits_are_drawn_by_default(tmp_path):
    result = run(app, ["data", "scenes", "--output", str(tmp_path), "--size", "2", *SMALL])
    assert result.exit_code == 0, result.output
    assert sorted(folder.name for folder in tmp_path.iterdir()) == sorted(
        ["detect", "pretrain", "finetune", "validation", "test", "test_style"]
    )


def test_wrong_split_is_one_line_and_nothing_is_drawn(tmp_path):
    result = run(app, ["data", "scenes", "--output", str(tmp_path / "new"), "--split", "test", "--split", "tset"])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: EmojiScenes has no split 'tset'; it has detect, ")
    assert not (tmp_path / "new").exists()


def test_unknown_preset_is_refused_with_the_known_ones(tmp_path):
    result = run(app, ["data", "scenes", "--output", str(tmp_path), "--size", "huge"])
    assert result.exit_code == 1
    assert "give a number or one of tests, cpu, gpu" in result.stderr


def test_paraphrases_of_held_scenes_are_written_and_those_of_the_training_refused(tmp_path):
    result = run(app, ["data", "paraphrases", "--output", str(tmp_path), "--size", "3"])
    assert result.exit_code == 0, result.output
    assert f"{tmp_path / 'test'}: templates, sentences, paraphrases" in result.stdout
    result = run(app, ["data", "paraphrases", "--output", str(tmp_path), "--split", "detect", "--size", "3"])
    assert result.exit_code == 1
    assert "Paraphrases are to evaluate on: 'detect' is none of" in result.stderr


def test_twins_are_images_in_pairs(tmp_path):
    result = run(
        app, ["data", "scenes", "--twins", "--output", str(tmp_path), "--split", "test", "--size", "6", *SMALL]
    )
    assert result.exit_code == 0, result.output
    number = len(list((tmp_path / "test" / "images").iterdir()))
    assert number % 2 == 0
    assert f"{tmp_path / 'test'}  {number} mirrored twins\n" in result.stdout
