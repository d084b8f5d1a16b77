import itertools
import json

import pytest
import torch
from helpers.training.tiny_translators import (
    LEARNT,
    WORDS,
    english_captions,
    save_m2m100,
    save_marian,
    save_nllb,
    save_nllb_of_words,
)
from wenlan.data import TooManyBadRowsError, read_pairs
from wenlan.data.files.lock import output_lock
from wenlan.data.translation.model import TranslationModel
from wenlan.data.translation.run import ModelChoice, translate_captions

ROWS = [
    {"image": "0.png", "text": ["a red apple", "two cats"]},
    {"image": "1.png", "text": ["a ship"]},
    {"image": "2.png", "text": ["the moon and a tree", "an open book", "a ship"]},
    {"image": "3.png", "text": ["big green frog"]},
]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def read(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def in_language(language):
    return [{"image": row["image"], "text": [LEARNT[text][language] for text in row["text"]]} for row in ROWS]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models")
    save_nllb(folder / "nllb")
    save_nllb_of_words(folder / "words")
    save_marian(folder / "opus-en-de", "de")
    save_marian(folder / "opus-en-jap", "ja")
    return folder


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "pairs.jsonl", ROWS)


def run(source, output, model, languages=("de", "ja"), **options):
    return translate_captions(
        source, output, model=ModelChoice(str(model), device="cpu"), languages=languages, **options
    )


def test_one_model_gives_a_file_of_pairs_for_each_language(models, source, tmp_path):
    report = run(source, tmp_path / "out", models / "nllb")
    assert read(tmp_path / "out" / "captions_en.jsonl") == ROWS
    assert read(tmp_path / "out" / "captions_de.jsonl") == in_language("de")
    assert read(tmp_path / "out" / "captions_ja.jsonl") == in_language("ja")
    assert {name: found.captions_out for name, found in report.languages.items()} == {"en": 7, "de": 7, "ja": 7}


def test_model_of_each_pair_is_found_by_its_name(models, source, tmp_path):
    choice = ModelChoice(str(models / "opus-{source}-{target}"), {"ja": "jap"}, device="cpu")
    translate_captions(source, tmp_path / "out", model=choice, languages=["de", "ja"])
    assert read(tmp_path / "out" / "captions_de.jsonl") == in_language("de")
    assert read(tmp_path / "out" / "captions_ja.jsonl") == in_language("ja")


def test_output_is_read_as_pairs_from_the_folder_of_the_images(models, source, tmp_path):
    for row in ROWS:
        (tmp_path / row["image"]).write_bytes(b"an image")
    run(source, tmp_path / "out", models / "nllb")
    dataset, report = read_pairs(tmp_path / "out" / "captions_ja.jsonl", image_root=tmp_path)
    assert (report.rows_read, report.rows_kept) == (4, 4)
    assert dataset["text"][0] == ["赤いりんご", "二匹のねこ"]


def test_report_holds_counts_and_examples_of_rows_and_filters(models, tmp_path):
    bad = [{"image": "4.png"}, {"image": "5.png", "text": ["a ship"]}, {"image": "5.png", "text": ["a ship"]}]
    source = write(tmp_path / "pairs.jsonl", [*ROWS, *bad, {"image": "6.png", "text": ["two cats " * 15]}])
    run(source, tmp_path / "out", models / "nllb", max_bad_fraction=0.2, max_source_tokens=20)
    written = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert (written["source"]["rows_read"], written["source"]["rows_kept"]) == (8, 7)
    assert written["source"]["counts"] == {"missing field": 1}
    assert written["languages"]["en"]["counts"] == {"duplicate": 1}
    assert written["languages"]["de"]["counts"] == {"duplicate": 1, "source too long": 1}
    assert written["languages"]["de"]["examples"]["duplicate"] == ["5.png: 'ein Schiff'"]
    assert (written["languages"]["de"]["rows_in"], written["languages"]["de"]["rows_out"]) == (7, 5)


def test_text_that_occurs_often_is_translated_once_a_shard(models, tmp_path, monkeypatch):
    seen = []
    real = TranslationModel.translate

    def translate(self, texts, *arguments, **options):
        seen.append(texts)
        return real(self, texts, *arguments, **options)

    monkeypatch.setattr(TranslationModel, "translate", translate)
    source = write(tmp_path / "pairs.jsonl", [{"image": str(n), "text": "a ship"} for n in range(5)])
    report = run(source, tmp_path / "out", models / "nllb", ["de"], shard_size=3)
    assert seen == [["a ship"], ["a ship"]]
    assert report.languages["de"].captions_out == 5


@pytest.fixture
def many(tmp_path):
    return write(
        tmp_path / "many.jsonl", [{"image": f"{n}.png", "text": t} for n, t in enumerate(english_captions(60))]
    )


def test_finished_shards_are_not_made_again_and_missing_ones_get_the_same_bytes(models, many, tmp_path):
    report = run(many, tmp_path / "out", models / "words", ["de"], shard_size=7)
    texts = [row["text"] for row in read(tmp_path / "out" / "captions_de.jsonl")]
    assert texts == [" ".join(map(WORDS.get, text.split())) for text in english_captions(60)]
    assert report.languages["de"].captions_out == 60
    shards = sorted((tmp_path / "out" / "shards" / "de").glob("*.parquet"))
    assert len(shards) == 9
    before, times = files(tmp_path / "out"), [shard.stat().st_mtime_ns for shard in shards]
    shards[2].unlink()
    shards[5].write_bytes(b"damaged")
    (shards[0].parent / ".saving-7-translations-00002-of-00009.parquet").write_bytes(b"half")
    (tmp_path / "out" / ".saving-7-captions_de.jsonl").write_bytes(b"half")
    run(many, tmp_path / "out", models / "words", ["de"], shard_size=7)
    assert files(tmp_path / "out") == before
    made_again = [now.stat().st_mtime_ns != then for now, then in zip(shards, times, strict=True)]
    assert made_again == [number in (2, 5) for number in range(9)]


def test_interrupted_run_leaves_whole_shards_and_goes_on_to_the_same_bytes(models, many, tmp_path, monkeypatch):
    run(many, tmp_path / "whole", models / "words", ["de"], shard_size=7)
    calls = []
    real = TranslationModel._generate

    def interrupt(self, *arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(TranslationModel, "_generate", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(many, tmp_path / "out", models / "words", ["de"], shard_size=7)
    names = {path.name for path in files(tmp_path / "out")}
    assert names == {"manifest.json", *(f"translations-0000{n}-of-00009.parquet" for n in range(3))}
    run(many, tmp_path / "out", models / "words", ["de"], shard_size=7)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_other_filters_and_another_language_translate_nothing_anew(models, source, tmp_path, monkeypatch):
    translated = []
    real = TranslationModel.translate

    def translate(self, texts, direction, *arguments, **options):
        translated.append(direction.forced_bos_token_id)
        return real(self, texts, direction, *arguments, **options)

    monkeypatch.setattr(TranslationModel, "translate", translate)
    rows = [*ROWS, {"image": "4.png", "text": ["a red apple " * 9]}]  # the tiny model says one apple: too short
    write(source, rows)
    first = run(source, tmp_path / "out", models / "nllb", ["de"])
    assert len(translated) == 1
    run(source, tmp_path / "out", models / "nllb", ["de", "ja"])
    assert len(translated) == 2
    assert first.languages["de"].counts == {"length ratio": 1}
    other = run(source, tmp_path / "out", models / "nllb", ["de", "ja"], skip_filters=["length ratio"])
    assert len(translated) == 2
    assert other.languages["de"].counts == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_beams": 2}, "decoding.num_beams is 1 there and 2 now"),
        ({"max_source_tokens": 9}, "decoding.max_source_tokens is 128 there and 9 now"),
        ({"shard_size": 5}, "shard_size is 1000 there and 5 now"),
    ],
)
def test_changed_settings_are_refused(models, source, tmp_path, changes, message):
    run(source, tmp_path / "out", models / "nllb", ["de"])
    with pytest.raises(ValueError, match=message):
        run(source, tmp_path / "out", models / "nllb", ["de"], **changes)


def test_another_model_and_other_captions_are_refused(models, source, tmp_path):
    run(source, tmp_path / "out", models / "nllb", ["de"])
    with pytest.raises(ValueError, match=r"model\.sha256 is"):
        run(source, tmp_path / "out", models / "words", ["de"])
    write(source, ROWS[:2])
    with pytest.raises(ValueError, match=r"sha256 is .* there and .* now"):
        run(source, tmp_path / "out", models / "nllb", ["de"])


def test_another_process_that_translates_into_the_folder_is_left_alone(models, source, tmp_path):
    with output_lock(tmp_path / "out"), pytest.raises(ValueError, match="is writing into"):
        run(source, tmp_path / "out", models / "nllb", ["de"])
    assert not (tmp_path / "out").exists()


def test_captions_of_someone_else_are_not_replaced(models, source, tmp_path):
    file = write(tmp_path / "captions_en.jsonl", ROWS)
    with pytest.raises(ValueError, match=r"another output folder"):
        run(file, tmp_path, models / "nllb", ["de"])
    assert read(file) == ROWS


@pytest.mark.parametrize("allowed", [0.9, 1.0])
def test_language_with_too_many_bad_translations_or_none_left_gets_no_file(models, tmp_path, allowed):
    captions = [" ".join(letters) for letters in itertools.product("QXZ", repeat=4)]  # unknown to the model: all alike
    source = write(tmp_path / "pairs.jsonl", [{"image": str(n), "text": t} for n, t in enumerate(captions)])
    with pytest.raises(TooManyBadRowsError, match=r"captions in de \(or all\) were left out.*(?s:.*)one for many"):
        run(source, tmp_path / "out", models / "nllb", ["de"], max_filtered_fraction=allowed)
    assert [file.name for file in (tmp_path / "out").glob("captions_*")] == ["captions_en.jsonl"]
    written = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))["languages"]["de"]
    assert written["counts"] == {"one for many": 81}


def test_model_that_fails_on_everything_ends_the_run_without_a_shard(models, many, tmp_path, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("no kernel")

    monkeypatch.setattr(TranslationModel, "_generate", fail)
    with pytest.raises(TooManyBadRowsError, match=r"failed on all 60 captions(?s:.*)no kernel"):
        run(many, tmp_path / "out", models / "words", ["de"])
    assert not list((tmp_path / "out").rglob("*.parquet"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"languages": ["de", "xx"]}, "'xx' is none of the languages"),
        ({"languages": []}, "The languages are none"),
        ({"languages": ["de", "de"]}, "give each one once"),
        ({"languages": ["de", "en"]}, "not 'en'"),
        ({"skip_filters": ["copies"]}, "did you mean 'copied'"),
        ({"num_beams": -1}, "num_beams is -1"),
        ({"shard_size": 0}, "0 rows"),
        ({"model": ModelChoice("m", dtype="float8")}, "dtype is 'float8'"),
        ({"model": ModelChoice("m", {"xx": "y"})}, "'xx' is none of the languages"),
    ],
)
def test_argument_out_of_range_is_an_error_before_a_model_is_read(source, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        translate_captions(source, tmp_path / "out", **{"model": "no such model"} | arguments)
    assert not (tmp_path / "out").exists()


def test_model_of_one_language_is_not_asked_for_two(models, source, tmp_path):
    with pytest.raises(ValueError, match=r"has one target language and cannot translate into de, ja"):
        run(source, tmp_path / "out", models / "opus-en-de")
    assert run(source, tmp_path / "out", models / "opus-en-de", ["de"]).languages["de"].captions_out == 7


def test_language_that_the_model_lacks_is_an_error_that_says_how_to_name_it(source, tmp_path):
    model = save_m2m100(tmp_path / "model")
    with pytest.raises(ValueError, match=r"no code yy for 'de'; give the one it has with --code de=CODE"):
        translate_captions(source, tmp_path / "out", model=ModelChoice(model, {"de": "yy"}), languages=["de"])
