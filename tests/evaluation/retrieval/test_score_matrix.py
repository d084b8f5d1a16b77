import json

import numpy as np
import pytest
import torch
from helpers.finetuning.scored_pairs import build_scorer_parts, make_texts
from wenlan.data.files.hashing import hash_model
from wenlan.evaluation.retrieval.score_matrix import score_matrix
from wenlan.pipelines.pair_scoring import PairScorer

TEXTS = make_texts(11)


@pytest.fixture(scope="module")
def parts():
    return build_scorer_parts()


@pytest.fixture
def scorer(parts):
    return PairScorer(*parts, batch_size=16)


def run(scorer, folder, texts=TEXTS, rows=4):
    return score_matrix(scorer, texts, folder, rows_per_shard=rows, progress=False)


def test_matrix_is_that_of_the_scorer_and_float32(scorer, tmp_path):
    matrix = run(scorer, tmp_path)
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(matrix, scorer(TEXTS).numpy(), atol=1e-6)
    names = ["manifest.json", *(f"scores-{number:05d}-of-00003.npy" for number in range(3))]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_shards_that_are_there_are_not_made_again(scorer, tmp_path, monkeypatch):
    whole = run(scorer, tmp_path)
    (tmp_path / "scores-00001-of-00003.npy").unlink()
    (tmp_path / ".saving-7-scores-00001-of-00003.npy").write_bytes(b"half a shard")
    asked = []
    score = PairScorer.__call__
    monkeypatch.setattr(PairScorer, "__call__", lambda self, texts: asked.extend(texts) or score(self, texts))
    assert np.array_equal(run(scorer, tmp_path), whole)
    assert asked == TEXTS[4:8]
    assert not list(tmp_path.glob(".saving-*"))


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY half", "other shape", "nan"])
def test_damaged_shard_is_made_again(scorer, tmp_path, damage, caplog):
    whole, path = run(scorer, tmp_path), tmp_path / "scores-00000-of-00003.npy"
    if isinstance(damage, bytes):
        path.write_bytes(damage)
    else:
        np.save(path, np.zeros((3, 7), np.float32) if damage == "other shape" else np.full((4, 7), np.nan, np.float32))
    assert np.array_equal(run(scorer, tmp_path), whole)
    assert "scores-00000-of-00003.npy" in caplog.text
    assert "is made again" in caplog.text


def test_shards_with_pickled_objects_are_not_opened(scorer, tmp_path):
    whole = run(scorer, tmp_path)
    np.save(tmp_path / "scores-00000-of-00003.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    assert np.array_equal(run(scorer, tmp_path), whole)


def test_shards_of_another_model_are_refused(scorer, tmp_path):
    run(scorer, tmp_path)
    other = PairScorer(*build_scorer_parts(seed=1))
    with pytest.raises(ValueError, match="begun otherwise: model is"):
        run(other, tmp_path)


def test_shards_of_other_texts_images_or_precision_are_refused(parts, scorer, tmp_path):
    run(scorer, tmp_path)
    model, processor, images = parts
    with pytest.raises(ValueError, match="texts is"):
        run(scorer, tmp_path, TEXTS[::-1])
    with pytest.raises(ValueError, match="images is"):
        run(PairScorer(model, processor, images[::-1]), tmp_path)
    with pytest.raises(ValueError, match="computed_in is 'float32' there and 'bfloat16' now"):
        run(PairScorer(*parts, dtype=torch.bfloat16), tmp_path)


def test_no_texts_or_empty_shards_are_refused(scorer, tmp_path):
    with pytest.raises(ValueError, match="0 texts in shards of 4"):
        run(scorer, tmp_path, [])
    with pytest.raises(ValueError, match="shards of 0"):
        run(scorer, tmp_path, rows=0)


def test_hash_follows_weights_and_configuration_but_not_the_folder(parts, tmp_path):
    model = parts[0]
    model.save_pretrained(tmp_path)
    assert hash_model(type(model).from_pretrained(tmp_path)) == hash_model(model)
    assert hash_model(type(model).from_pretrained(tmp_path, retrieval_loss="itm")) != hash_model(model)
    assert hash_model(build_scorer_parts(seed=1)[0]) != hash_model(model)


def test_manifest_says_whose_scores_these_are(scorer, tmp_path):
    run(scorer, tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["model"] == hash_model(scorer.model)
    assert manifest["shape"] == [11, 7]
