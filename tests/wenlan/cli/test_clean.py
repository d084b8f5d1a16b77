import json

import pytest
from typer.testing import CliRunner
from wenlan.data import load_emoji7
from wenlan.data.cleaning.pipeline import IMAGE_RULES
from wenlan.data.cleaning.settings import SWITCHES

from wenlan.cli.main import app

WITHOUT_IMAGES = [f"--no-{rule.replace('_', '-')}" for rule in IMAGE_RULES]


def run(*arguments):
    return CliRunner().invoke(app, ["data", "clean", *map(str, arguments)])


@pytest.fixture
def crawl(tmp_path):
    """Three images of 96 pixels with good texts, one of them twice, and a row without its image."""
    lines = []
    for number, row in enumerate(load_emoji7()["test"].select([0, 100, 500])):
        row["image"].convert("RGB").save(tmp_path / f"{number}.png")
        lines.append({"image": f"{number}.png", "text": f"<b>一张图片：{row['name_zh']}</b>"})
    lines += [lines[0], {"image": "none.png", "text": "没有图片的一行"}]
    (tmp_path / "crawl.jsonl").write_text("\n".join(json.dumps(line) for line in lines), "utf-8")
    return tmp_path / "crawl.jsonl"


def test_table_and_files_say_what_was_left_out(crawl, tmp_path):
    result = run(crawl, "--output", tmp_path / "clean", "--no-image-side", "--no-image-bytes")
    assert result.exit_code == 0, result.output
    assert "kept 3 of 5 rows" in result.stdout
    assert "image_readable            1         1  row 5: file missing: 'none.png'" in result.stdout
    assert f"--data {tmp_path}/clean/pairs.jsonl --image_root {tmp_path}" in result.stdout
    assert len((tmp_path / "clean" / "pairs.jsonl").read_text("utf-8").splitlines()) == 3
    report = json.loads((tmp_path / "clean" / "clean_report.json").read_text("utf-8"))
    assert report["settings"]["skip"] == ["image_bytes", "image_side"]


@pytest.mark.parametrize("rule", SWITCHES)
def test_every_rule_can_be_turned_off(rule, crawl, tmp_path):
    switches = {*WITHOUT_IMAGES, f"--no-{rule.replace('_', '-')}"}
    result = run(crawl, "--output", tmp_path / "clean", *switches)
    assert result.exit_code == 0, result.output
    assert rule in json.loads((tmp_path / "clean" / "clean_report.json").read_text("utf-8"))["settings"]["skip"]


def test_words_of_the_lists_are_left_out(crawl, tmp_path):
    (tmp_path / "words.txt").write_text("没有\n", "utf-8")
    result = run(crawl, "--output", tmp_path / "clean", "--drop-words", tmp_path / "words.txt", *WITHOUT_IMAGES)
    assert "drop_words                1         1  row 5: '没有' in '没有图片的一行'" in result.stdout


def test_columns_and_image_root_can_be_named(tmp_path):
    (tmp_path / "images").mkdir()
    load_emoji7()["test"][0]["image"].convert("RGB").save(tmp_path / "images" / "a.png")
    (tmp_path / "crawl.csv").write_text("file,caption\na.png,一张好图片\n", "utf-8")
    options = ["--image-column", "file", "--text-column", "caption", "--image-root", tmp_path / "images"]
    result = run(tmp_path / "crawl.csv", "--output", tmp_path, *options, "--no-image-side", "--no-image-bytes")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "pairs.jsonl").read_text("utf-8")) == {"file": "a.png", "caption": "一张好图片"}


def test_no_row_left_is_a_short_error_with_the_counts(crawl, tmp_path):
    result = run(crawl, "--output", tmp_path / "clean")
    assert result.exit_code == 1
    assert "Error: No pair is left" in result.output
    assert "row 1: '0.png': 96 x 96 pixels" in result.output
    assert not (tmp_path / "clean").exists()


@pytest.mark.parametrize(
    ("data", "message"), [("坏词".encode("gb18030"), "not UTF-8"), (None, "No such file"), (b"\n", "holds no words")]
)
def test_bad_word_list_is_a_short_error(data, message, crawl, tmp_path):
    if data is not None:
        (tmp_path / "words.txt").write_bytes(data)
    result = run(crawl, "--output", tmp_path / "clean", "--drop-words", tmp_path / "words.txt")
    assert result.exit_code == 1
    assert "Error:" in result.output
    assert message in result.output
    assert "Traceback" not in result.output


def test_missing_source_is_a_short_error(tmp_path):
    result = run(tmp_path / "crawl.jsonl", "--output", tmp_path / "clean")
    assert result.exit_code == 1
    assert "does not exist" in result.output
