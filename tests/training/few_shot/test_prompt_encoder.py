import pytest
import torch
from helpers.few_shot import LENGTH, save_models, text_of
from wenlan.analysis.neurons.evaluate import random_tower
from wenlan.data.files.hashing import hash_model
from wenlan.pipelines.embedding import embed_texts
from wenlan.pipelines.open_brivl import open_brivl
from wenlan.training.few_shot.prompt_encoder import brivl_encoder, load_encoder, mean_encoder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def brivl(folders):
    return open_brivl(folders["brivl"])


@pytest.fixture
def encoder(folders):
    return mean_encoder(*load_encoder(folders["encoder"]), max_tokens=LENGTH)


TEXTS = ["天文学", "星系和恒星", text_of("作物学", 3)[:14], "水稻"]


def test_one_window_is_the_embedding_of_the_pipeline(brivl):
    torch.testing.assert_close(brivl_encoder(*brivl).embed(TEXTS), embed_texts(*brivl, TEXTS), atol=1e-6, rtol=0)


def test_encoder_alone_is_the_mean_of_its_states(encoder):
    inputs = encoder.tokenizer(["水稻"], return_tensors="pt")
    states = encoder.model(**inputs).last_hidden_state[0].mean(dim=0)
    torch.testing.assert_close(encoder.embed(["水稻"])[0], states / states.norm(), atol=1e-6, rtol=0)


def test_long_text_is_the_mean_of_its_windows_up_to_so_many(encoder):
    piece = LENGTH - 2
    text = "天文学星系恒星望远镜轨道作物水稻小麦产量品种灌溉温室排水" * 3
    parts = [encoder.embed([text[start : start + piece]])[0] for start in range(0, 4 * piece, piece)]
    for windows in (1, 2, 4):
        mean = torch.stack(parts[:windows]).mean(dim=0)
        torch.testing.assert_close(encoder.embed([text], windows=windows)[0], mean / mean.norm(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_embeddings_do_not_depend_on_the_batch_or_the_order(encoder, batch_size):
    texts = [text_of("农业工程", 7), *TEXTS, text_of("天文学", 5) * 2]
    whole = encoder.embed(texts)
    torch.testing.assert_close(encoder.embed(texts, batch_size=batch_size), whole, atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.embed(texts[::-1]).flip(0), whole, atol=1e-5, rtol=0)


def test_many_texts_in_groups_of_like_length_are_the_same_as_each_alone(encoder):
    ids, mask = encoder.pad([encoder.tokenizer(text)["input_ids"] for text in TEXTS * 10])
    found = encoder.encode(encoder.embed_tokens(ids), mask)
    torch.testing.assert_close(found, encoder.embed(TEXTS).repeat(10, 1), atol=1e-5, rtol=0)


def test_texts_of_unknown_tokens_alone_are_told(encoder):
    assert encoder.only_unknown(["嗨嗨", "天嗨", "", "天文"]) == [True, False, True, False]


def test_changed_weights_are_noticed(encoder):
    encoder.check_unchanged()
    assert not any(one.requires_grad for one in encoder.model.parameters())
    encoder.model.encoder.layer[0].output.dense.bias.data[0] += 1
    with pytest.raises(RuntimeError, match="have changed"):
        encoder.check_unchanged()


def test_untrained_tower_has_the_same_sizes_and_other_weights(brivl):
    before = torch.random.get_rng_state()
    first, again, other = (random_tower(brivl[0], seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert hash_model(first) == hash_model(again)
    assert len({hash_model(one) for one in (first, other, brivl[0])}) == 3
    assert {k: v.shape for k, v in first.state_dict().items()} == {k: v.shape for k, v in brivl[0].state_dict().items()}


def test_encoder_of_broken_weights_is_refused(folders, tmp_path):
    with pytest.raises((ValueError, OSError), match="no"):
        load_encoder(str(tmp_path / "none"))
