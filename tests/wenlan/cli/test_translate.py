import json

import pytest
import torch
from helpers.training.tiny_translators import LEARNT, save_nllb, save_t5
from typer.testing import CliRunner
from wenlan.data.translation.model import TranslationModel

from wenlan.cli.main import app


def run(*arguments):
    return CliRunner().invoke(app, ["translate-captions", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.set_num_threads(1)
    return save_nllb(tmp_path_factory.mktemp("nllb"))


@pytest.fixture
def source(tmp_path):
    rows = [{"id": f"{number}.png", "caption": text} for number, text in enumerate(LEARNT)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return tmp_path / "pairs.jsonl"


COLUMNS = ["--image-column", "id", "--text-column", "caption"]


def test_command_prints_the_counts_of_each_language_and_where_things_are(model, source, tmp_path):
    options = ["--languages", "de, ja", "--num-beams", 2, "--batch-tokens", 50, "--shard-size", 4, "--device", "cpu"]
    options += ["--max-source-tokens", 30, "--code", "ja=jpn_Jpan", "--skip-filter", "copied", *COLUMNS]
    result = run(source, "--output", tmp_path / "out", "--model", model, *options)
    assert result.exit_code == 0, result.output
    table = [line.split() for line in result.stdout.splitlines()]
    assert all([language, "6", "6", "0"] in table for language in ("en", "de", "ja"))
    assert f"What was left out, with examples: {tmp_path}/out/report.json" in result.stdout
    assert f"--image-root {tmp_path}" in result.stdout
    german = [json.loads(line) for line in (tmp_path / "out" / "captions_de.jsonl").read_text("utf-8").splitlines()]
    assert german[0] == {"image": "0.png", "text": "ein roter Apfel"}
    settings = json.loads((tmp_path / "out" / "shards" / "de" / "manifest.json").read_text("utf-8"))["decoding"]
    assert settings == {"num_beams": 2, "batch_tokens": 50, "max_source_tokens": 30, "dtype": "float32"}
    assert len(list((tmp_path / "out" / "shards" / "ja").glob("*.parquet"))) == 2


def test_prefix_reaches_the_model(source, tmp_path):
    options = ["--model", save_t5(tmp_path / "t5"), "--prefix", "to {target}: ", "--languages", "ja", *COLUMNS]
    result = run(source, "--output", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    assert "赤いりんご" in (tmp_path / "out" / "captions_ja.jsonl").read_text("utf-8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--languages", "de,xx"], "'xx' is none of the languages"),
        (["--code", "jap"], "--code is 'jap'; write LANGUAGE=CODE"),
        (["--dtype", "int8"], "dtype is 'int8'"),
        (["--model", "/no/such/model"], "/no/such/model"),
        (["--text-column", "txt"], "has no column 'txt', only id, caption"),
    ],
)
def test_mistakes_are_short_errors(model, source, tmp_path, options, message):
    result = run(source, "--output", tmp_path / "out", "--model", model, *COLUMNS, *options)
    assert result.exit_code == 1
    assert "Error:" in result.output
    assert message in result.output.replace("\n", "")


def test_missing_source_is_a_short_error(model, tmp_path):
    result = run(tmp_path / "none.jsonl", "--output", tmp_path / "out", "--model", model)
    assert result.exit_code == 1
    assert "does not exist" in result.output


def test_interrupt_says_how_to_resume(model, source, tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(TranslationModel, "_generate", interrupt)
    result = run(source, "--output", tmp_path / "out", "--model", model, "--languages", "de", *COLUMNS)
    assert result.exit_code == 130
    assert "To resume:" in result.output
    assert not list((tmp_path / "out").rglob("*.parquet"))
