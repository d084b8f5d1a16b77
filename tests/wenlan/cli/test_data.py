import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner
from wenlan.processing import build_character_tokenizer

from wenlan.cli.main import app

run = CliRunner().invoke


@pytest.fixture
def folder(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (12, 12)).save(buffer, "PNG")
    images = [buffer.getvalue()] * 4 + [b"nothing"]
    (tmp_path / "pairs").mkdir()
    table = pa.table({"image": images, "text": ["一只猫", "一只猫", "狗", "a cat", "坏"]})
    pq.write_table(table, tmp_path / "pairs" / "a.parquet")
    return tmp_path / "pairs"


@pytest.mark.parametrize("options", [[], ["--streaming"]])
def test_report_prints_numbers_and_warnings_and_writes_them(folder, tmp_path, options):
    output = tmp_path / "out" / "report.json"
    result = run(app, ["data", "report", str(folder), *options, "--output", str(output)])
    assert result.exit_code == 0, result.output
    assert "4 pairs" in result.stdout
    assert "1 x not an image" in result.stdout
    assert "WARNING: 25% of the captions are those of an earlier pair" in result.stdout
    assert json.loads(output.read_text("utf-8"))["bad_rows"] == {"not an image": 1}


def test_report_with_a_tokenizer_and_a_language_shows_what_they_do_not_fit(folder, tmp_path):
    build_character_tokenizer(["狗"], max_length=4).save_pretrained(tmp_path / "tokenizer")
    result = run(app, ["data", "report", str(folder), "--tokenizer", str(tmp_path / "tokenizer"), "--language", "en"])
    assert "tokens are [UNK]" in result.stdout
    assert "cut at 4" in result.stdout
    assert "75% of the captions are not written as 'en' is" in result.stdout


def test_report_on_emoji7_needs_no_files():
    result = run(app, ["data", "report", "emoji7"])
    assert result.exit_code == 0
    assert "emoji7: 4,209 pairs" in result.stdout


def test_report_on_what_is_not_there_is_one_line_and_exit_code_one(tmp_path):
    result = run(app, ["data", "report", str(tmp_path / "none.jsonl")])
    assert result.exit_code == 1
    assert "does not exist" in result.output
    assert "Traceback" not in result.output


def test_report_counts_images_that_no_row_names_and_never_replaces_the_pairs(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (12, 12)).save(tmp_path / name)
    pairs = tmp_path / "metadata.jsonl"
    pairs.write_text(json.dumps({"image": "a.png", "text": "一只猫"}), "utf-8")
    for source in (tmp_path, pairs):
        refused = run(app, ["data", "report", str(source), "--output", str(pairs)])
        assert refused.exit_code == 1
        assert "would be replaced" in refused.output
    assert pairs.read_text("utf-8").startswith("{")
    result = run(app, ["data", "report", str(tmp_path), "--output", str(tmp_path / "report.json")])
    assert "not looked at: 1 files or folders (1 images that no row names)" in result.stdout
    written = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert written["not_looked_at"] == {"images that no row names": 1}


def test_report_on_shards_without_a_sample_says_why(tmp_path):
    with (tmp_path / "0.tar").open("wb") as file:
        file.truncate(6 << 30)
    result = run(app, ["data", "report", str(tmp_path), "--streaming"])
    assert result.exit_code == 1
    assert "holds no pairs" in result.output
    assert "1 x broken shard" in result.output
