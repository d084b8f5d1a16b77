import json
import logging
import shutil

import pytest
import torch
from helpers.training.tiny_translators import (
    LEARNT,
    WORDS,
    english_captions,
    save_m2m100,
    save_marian,
    save_marian_of_many,
    save_mbart,
    save_nllb,
    save_nllb_of_words,
    save_t5,
)
from safetensors.torch import load_file, save_file
from wenlan.data.translation.language_codes import find_direction
from wenlan.data.translation.model import DecodingSettings, TranslationModel
from wenlan.data.translation.shards import Translation

GREEDY = DecodingSettings(num_beams=1)


def load(folder, dtype=torch.float32):
    return TranslationModel(str(folder), dtype=dtype, device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.set_num_threads(1)
    return save_nllb(tmp_path_factory.mktemp("nllb"))


@pytest.fixture(scope="module")
def model(folder):
    return load(folder)


@pytest.fixture(scope="module")
def model_of_words(tmp_path_factory):
    torch.set_num_threads(1)
    return load(save_nllb_of_words(tmp_path_factory.mktemp("words")))


@pytest.fixture
def german(model):
    return find_direction(model.tokenizer, "en", "de")


@pytest.mark.parametrize(
    ("save", "prefix"),
    [
        (save_marian_of_many, ""),
        *(
            pytest.param(save, prefix, marks=pytest.mark.slow)
            for save, prefix in ((save_nllb, ""), (save_m2m100, ""), (save_mbart, ""), (save_t5, "to {target}: "))
        ),
    ],
)
def test_model_of_each_family_translates_into_both_languages_that_it_has_learnt(save, prefix, tmp_path):
    model = load(save(tmp_path))
    for language in ("de", "ja"):
        direction = find_direction(model.tokenizer, "en", language, prefix=prefix)
        found = model.translate(list(LEARNT), direction, GREEDY)
        assert found == [Translation(texts[language]) for texts in LEARNT.values()]


def test_model_of_one_pair_translates_into_its_language(tmp_path):
    model = load(save_marian(tmp_path, "ja"))
    found = model.translate(list(LEARNT), find_direction(model.tokenizer, "en", "ja"), GREEDY)
    assert found == [Translation(texts["ja"]) for texts in LEARNT.values()]


@pytest.mark.parametrize("beams", [1, 3])
def test_batches_do_not_change_the_translations(model_of_words, beams):
    german = find_direction(model_of_words.tokenizer, "en", "de")
    captions = english_captions(60)
    alone = model_of_words.translate(captions, german, DecodingSettings(beams, batch_tokens=1))
    together = model_of_words.translate(captions, german, DecodingSettings(beams, batch_tokens=100))
    assert alone == [Translation(" ".join(map(WORDS.get, caption.split()))) for caption in captions]
    assert together == alone


def test_batches_are_sorted_by_length_and_within_the_budget(model, german, monkeypatch):
    batches = []
    real = model._generate
    monkeypatch.setattr(model, "_generate", lambda batch, *rest: batches.append(batch) or real(batch, *rest))
    done = []
    model.translate(english_captions(30), german, DecodingSettings(1, batch_tokens=80), advance=done.extend)
    lengths = [len(ids) for batch in batches for ids in batch]
    assert lengths == sorted(lengths)
    assert all(len(batch) == 1 or len(batch) * len(batch[-1]) <= 80 for batch in batches)
    assert max(map(len, batches)) > 3
    assert sorted(done) == list(range(30))


def test_captions_are_read_in_the_source_language_whatever_the_tokenizer_was_set_to(model, monkeypatch):
    batches = []
    real = model._generate
    monkeypatch.setattr(model, "_generate", lambda batch, *rest: batches.append(batch) or real(batch, *rest))
    model.tokenizer.src_lang = "fra_Latn"
    model.translate(["two cats"], find_direction(model.tokenizer, "cs", "de"), GREEDY)
    assert model.tokenizer.convert_ids_to_tokens(batches[0][0][0]) == "ces_Latn"


def test_caption_over_the_limit_is_not_translated(model, german):
    found = model.translate(["a ship", "a ship " * 20], german, DecodingSettings(1, max_source_tokens=20))
    assert found[0] == Translation("ein Schiff")
    assert found[1].text is None
    assert found[1].fault.startswith("source too long: ")
    assert found[1].fault.endswith("at most 20")


def test_caption_over_the_positions_of_the_model_is_not_translated(model, german):
    found = model.translate(["a ship " * 60], german, DecodingSettings(1, max_source_tokens=10_000))
    assert found[0].fault.endswith("at most 64")


def test_translation_that_does_not_end_is_cut_off(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "endless")
    weights = load_file(tmp_path / "endless" / "model.safetensors")
    weights["model.shared.weight"][2] = 0  # </s> gets the logit 0 everywhere
    save_file(weights, tmp_path / "endless" / "model.safetensors", metadata={"format": "pt"})
    model = load(tmp_path / "endless")
    found = model.translate(["two cats"], find_direction(model.tokenizer, "en", "de"), GREEDY)
    assert found[0].fault == "cut off"
    assert found[0].text.startswith("zwei Katzen")


def test_end_that_is_forced_at_the_limit_is_cut_off_too(tmp_path):
    model = load(save_marian(tmp_path, "de"))
    assert model.model.generation_config.forced_eos_token_id == 0
    with torch.no_grad():
        model.model.final_logits_bias[0, 0] = -1e4
    found = model.translate(["two cats"], find_direction(model.tokenizer, "en", "de"), GREEDY)
    assert found[0].fault == "cut off"


def test_translation_with_an_unknown_token_says_so(model):
    known = model.tokenizer.convert_tokens_to_ids(model.tokenizer.tokenize("zwei"))
    with_unknown = [*known, model.tokenizer.unk_token_id, model.tokenizer.eos_token_id]
    assert model._decode(with_unknown, 9) == Translation("zwei", "unknown token")
    assert model._decode([*known, model.tokenizer.eos_token_id], 9) == Translation("zwei")


@pytest.mark.parametrize("error", [RuntimeError("no kernel"), torch.OutOfMemoryError("out of memory")])
def test_caption_that_the_model_fails_on_costs_itself(model, german, monkeypatch, caplog, error):
    bad = model.tokenizer("two cats")["input_ids"]
    real = model._generate

    def generate(batch, *rest):
        if bad in batch:
            raise error
        return real(batch, *rest)

    monkeypatch.setattr(model, "_generate", generate)
    with caplog.at_level(logging.WARNING):
        found = dict(zip(LEARNT, model.translate(list(LEARNT), german, GREEDY), strict=True))
    assert found.pop("two cats") == Translation(None, f"model failed: {type(error).__name__}: {error}")
    assert found == {english: Translation(texts["de"]) for english, texts in LEARNT.items() if english in found}
    assert "its halves are tried" in caplog.text


def test_lost_device_ends_the_run(model, german, monkeypatch):
    def generate(*arguments):
        raise torch.AcceleratorError("device-side assert")

    monkeypatch.setattr(model, "_generate", generate)
    with pytest.raises(torch.AcceleratorError):
        model.translate(list(LEARNT), german, GREEDY)


def test_identity_is_that_of_weights_and_vocabulary_and_not_of_the_place(folder, model, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    assert load(tmp_path / "copy").identity["sha256"] == model.identity["sha256"]
    weights = load_file(tmp_path / "copy" / "model.safetensors")
    weights["model.encoder.layers.0.fc1.bias"][0] += 1
    save_file(weights, tmp_path / "copy" / "model.safetensors", metadata={"format": "pt"})
    assert load(tmp_path / "copy").identity["sha256"] != model.identity["sha256"]


def test_bfloat16_translates_what_was_learnt(folder):
    model = load(folder, torch.bfloat16)
    found = model.translate(list(LEARNT), find_direction(model.tokenizer, "en", "de"), GREEDY)
    assert model.model.dtype == torch.bfloat16
    assert sum(one.text == texts["de"] for one, texts in zip(found, LEARNT.values(), strict=True)) >= 5


@pytest.mark.parametrize("name", ["num_beams", "batch_tokens", "max_source_tokens"])
def test_settings_below_one_are_named(name):
    with pytest.raises(ValueError, match=f"{name} is 0; it must be 1 or more"):
        DecodingSettings(**{name: 0})


def test_code_of_a_model_is_never_run(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "code")
    config = json.loads((tmp_path / "code" / "config.json").read_text())
    own = {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModelForSeq2SeqLM": "own.Model"}}
    (tmp_path / "code" / "config.json").write_text(json.dumps(config | own))
    (tmp_path / "code" / "own.py").write_text(f"open({str(tmp_path / 'was_run')!r}, 'w')\n")
    with pytest.raises(ValueError, match="contains custom code"):
        load(tmp_path / "code")
    assert not (tmp_path / "was_run").exists()
