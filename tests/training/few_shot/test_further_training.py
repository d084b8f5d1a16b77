import json
from functools import partial

import pytest
import torch
from helpers import forked
from helpers.few_shot import CLASSES, WORDS, save_models
from wenlan.training.few_shot.further_training import emoji7_texts, train_further
from wenlan.training.few_shot.prompt_encoder import load_encoder

TEXTS = [*CLASSES, *WORDS.values()] * 8


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return save_models(tmp_path_factory.mktemp("models"))["encoder"]


def test_encoder_learns_from_texts_alone_and_keeps_its_token_embeddings(source, tmp_path):
    folder = train_further(source, TEXTS, tmp_path / "further", steps=60, seed=0)
    losses = json.loads((folder / "losses.json").read_text("utf-8"))
    assert sum(losses[-10:]) < sum(losses[50:60]) < sum(losses[:10])
    (before, _), (after, tokenizer) = load_encoder(source), load_encoder(str(folder))
    assert after.get_input_embeddings().weight.equal(before.get_input_embeddings().weight)
    moved = [name for name, value in after.state_dict().items() if not value.equal(before.state_dict()[name])]
    assert any("encoder.layer.1.output.dense.weight" in name for name in moved)
    assert tokenizer.get_vocab() == load_encoder(source)[1].get_vocab()


def test_head_learns_alone_before_the_encoder_moves(source, tmp_path, monkeypatch):
    """A head of random weights would spoil the encoder: without steps of its own the encoder stays as it was."""
    monkeypatch.setattr("wenlan.training.few_shot.further_training.RATE", 0.0)
    folder = train_further(source, TEXTS, tmp_path / "further", steps=40, seed=0)
    losses = json.loads((folder / "losses.json").read_text("utf-8"))
    assert len(losses) == 80
    assert sum(losses[30:40]) < sum(losses[:10])
    before, after = (load_encoder(str(one))[0].state_dict() for one in (source, folder))
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_finished_folder_is_taken_as_it_is_and_that_of_other_settings_refused(source, tmp_path):
    folder = train_further(source, TEXTS, tmp_path / "further", steps=2, seed=0)
    time = (folder / "model.safetensors").stat().st_mtime_ns
    train_further(source, TEXTS, folder, steps=2, seed=0)
    assert (folder / "model.safetensors").stat().st_mtime_ns == time
    with pytest.raises(ValueError, match="steps is 2 there and 3 now"):
        train_further(source, TEXTS, folder, steps=3, seed=0)


def test_same_seed_gives_the_same_encoder(source, tmp_path):
    folders = [train_further(source, TEXTS, tmp_path / str(run), steps=2, seed=5) for run in range(2)]
    first, again = (load_encoder(str(folder))[0].state_dict() for folder in folders)
    assert all(torch.equal(value, again[name]) for name, value in first.items())


def test_child_process_trains_the_same_encoder(source, tmp_path):
    train = partial(train_further, source, TEXTS, steps=2, seed=5)
    forked.run(train, tmp_path / "child", log=tmp_path / "log.txt")
    train(tmp_path / "parent")
    first, again = (load_encoder(str(tmp_path / name))[0].state_dict() for name in ("child", "parent"))
    assert all(torch.equal(value, again[name]) for name, value in first.items())


def test_texts_are_names_and_keywords_of_the_concepts_that_are_trained_on():
    texts = emoji7_texts(["zh"])
    assert "苹果" in texts
    assert len(set(texts)) == len(texts) > 1000
    assert set(texts) < set(emoji7_texts(["zh", "en"]))
