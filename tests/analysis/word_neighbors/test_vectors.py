import numpy as np
import pytest
import torch
from helpers.few_shot import save_models
from wenlan.analysis.word_neighbors import vectors
from wenlan.analysis.word_neighbors.vectors import WordEncoder, center_rows, to_unit_rows
from wenlan.pipelines import embed_texts
from wenlan.pipelines.open_brivl import open_brivl
from wenlan.training.few_shot.prompt_encoder import load_encoder

WORDS = ["星系", "恒星", "水", "望远镜", "小麦产量", "品种"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def encoder(folders):
    return WordEncoder("encoder", *load_encoder(folders["encoder"]), 16, "mean")


def test_features_of_a_brivl_are_those_of_its_text_tower(folders):
    model, processor = open_brivl(folders["brivl"])
    found = WordEncoder("brivl", model, processor.tokenizer, processor.max_text_length, "features").embed(WORDS)
    wanted = embed_texts(model, processor, WORDS).numpy()
    np.testing.assert_allclose(to_unit_rows(found, WORDS), wanted, atol=1e-5)


@torch.no_grad()
def test_states_are_averaged_without_special_tokens(encoder):
    ids = torch.tensor([encoder.tokenizer("望远镜")["input_ids"]])
    states = encoder.model(input_ids=ids).last_hidden_state[0]
    np.testing.assert_allclose(encoder.embed(WORDS)[3], states[1:-1].mean(0), atol=1e-5)
    encoder.pool = "cls"
    np.testing.assert_allclose(encoder.embed(WORDS)[3], states[0], atol=1e-5)


def test_stored_vectors_are_taken_and_those_of_a_stopped_run_too(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(vectors, "SHARD", 2)
    whole = encoder.embed(WORDS)
    encoder.embed(WORDS[:4], tmp_path)
    embedded, real = [], encoder._embed
    monkeypatch.setattr(encoder, "_embed", lambda words, bar: embedded.append(words) or real(words, bar))
    np.testing.assert_array_equal(encoder.embed(WORDS, tmp_path), whole)
    assert embedded == [WORDS[4:]]


def test_weights_that_change_are_an_error(encoder):
    with torch.no_grad():
        next(encoder.model.parameters()).add_(1)
    with pytest.raises(RuntimeError, match="weights of encoder have changed"):
        encoder.embed(WORDS)


@pytest.mark.parametrize(("value", "name"), [(0, "zero"), (np.nan, "not finite"), (-np.inf, "not finite")])
def test_vector_without_direction_is_an_error_with_its_word(value, name):
    bad = np.ones((3, 2), np.float32)
    bad[1] = value
    with pytest.raises(ValueError, match=f"The vector of 恒星 is {name}"):
        to_unit_rows(bad, WORDS[:3])
    bad[2] = value
    with pytest.raises(ValueError, match=f"The vector of 恒星 and of 1 others is {name}"):
        to_unit_rows(bad, WORDS[:3])


def test_centred_rows_have_no_common_direction():
    rows = np.random.default_rng(0).normal(3, 1, (500, 8)).astype(np.float32)
    names = list(map(str, range(500)))
    plain = to_unit_rows(rows.copy(), names)
    centred = center_rows(plain.copy(), names)
    assert np.linalg.norm(plain.mean(0)) > 0.9
    assert np.linalg.norm(centred.mean(0)) < 0.05
    np.testing.assert_allclose(np.linalg.norm(centred, axis=1), 1, atol=1e-6)
