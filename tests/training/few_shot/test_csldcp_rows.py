from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.few_shot import LENGTH, save_models, write_csldcp
from torch.nn import functional as F
from wenlan.data.csldcp.load import LabelledTexts, read_csldcp
from wenlan.training.few_shot.csldcp_rows import BOTH, PERMUTED, RETRIEVED, TEXT, VISUAL, Tower, kept
from wenlan.training.few_shot.prompt_encoder import load_encoder, mean_encoder
from wenlan.training.few_shot.prompt_tuning import PENALTIES, TuningSettings

PLACE = (2, 1)


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    root = tmp_path_factory.mktemp("few_shot")
    encoder = mean_encoder(*load_encoder(save_models(root / "models")["encoder"]), max_tokens=LENGTH)
    data = read_csldcp(write_csldcp(root / "csldcp"))
    return Tower("tower", encoder, data, draws=2, windows=4, cache=root / "cache.npy")


def test_nearest_prototypes_are_those_of_the_embeddings(tower):
    texts, names = tower.encoder.embed(tower.data.test.texts), tower.names
    train = tower.data.train[PLACE[0]].texts
    shots = tower.encoder.embed([train[index] for index in tower.data.draw(*PLACE)])
    mean = shots.mean(dim=0)
    wanted = [texts @ shots.T, texts @ names.T, texts @ (shots + names).T]
    moved = [F.normalize(one, dim=-1) for one in (texts - mean, shots - mean, names - names.mean(dim=0))]
    wanted += [moved[0] @ moved[1].T, moved[0] @ moved[2].T, moved[0] @ F.normalize(moved[1] + moved[2], dim=-1).T]
    wanted[2] = texts @ F.normalize(shots + names, dim=-1).T
    found = [row.predict(*PLACE).tolist() for row in tower.prototype_rows()]
    assert found == [scores.argmax(dim=1).tolist() for scores in wanted]


def test_embeddings_are_made_once_and_kept(tower, monkeypatch):
    first = tower.embeddings[0]
    monkeypatch.setattr(type(tower.encoder), "embed", None)
    again = Tower("again", tower.encoder, tower.data, draws=2, windows=4, cache=tower.cache)
    assert again.embeddings[0].equal(first)
    assert kept(tower.cache, lambda: torch.zeros(1))[: len(first)].equal(first)


def test_rows_of_a_brivl_differ_by_their_prototypes(tower):
    generator = torch.Generator().manual_seed(0)
    visual, noise = (F.normalize(torch.randn(3, 20, generator=generator), dim=-1) for _ in range(2))
    settings = TuningSettings(context_length=0, epochs=3)
    rows = {row.name: row for row in tower.ablation_rows(settings, visual, noise, seed=0)}
    assert len(rows) == 5
    nearest = (tower.embeddings[0] @ visual.T).argmax(dim=1).numpy()
    assert (rows[VISUAL].predict(*PLACE) == nearest).mean() > 0.6
    assert not np.array_equal(rows[VISUAL].predict(*PLACE), rows[PERMUTED].predict(*PLACE)) or len(set(nearest)) == 1
    assert [row.name for row in tower.ablation_rows(settings, None, None, seed=0)] == [TEXT]


def test_images_are_retrieved_for_texts_in_one_row_alone(tower):
    generator = torch.Generator().manual_seed(0)
    visual, noise = (F.normalize(torch.randn(3, 20, generator=generator), dim=-1) for _ in range(2))
    pool = visual[[2]].repeat(9, 1)  # all say the last class
    settings = TuningSettings(context_length=0, epochs=3)
    found = {}
    for one in (None, pool):
        own = Tower("own", tower.encoder, tower.data, draws=2, windows=4, cache=tower.cache, pool=one)
        found[one is pool] = {
            row.name: row.predict(*PLACE).tolist() for row in own.ablation_rows(settings, visual, noise, seed=0)
        }
    assert list(found[True]) == [*found[False], RETRIEVED]
    assert {name: found[True][name] for name in found[False]} == found[False]
    assert set(found[True][RETRIEVED]) == {2} != set(found[True][BOTH])


@pytest.fixture
def predictions(tower, tmp_path):
    """By penalty, what is predicted for texts by a classifier that is tuned on the draw of `PLACE`."""

    def predict(texts, labels):
        cache = tmp_path / f"{len(texts)}.npy"
        own = replace(tower, data=replace(tower.data, test=LabelledTexts(texts, labels)), cache=cache)
        return {
            penalty: own.tuned_rows(TEXT, replace(TUNING, residual_penalty=penalty))[0].predict(*PLACE)
            for penalty in PENALTIES
        }

    return predict


TUNING = TuningSettings(context_length=0, learning_rate=0.05)


def test_penalty_is_the_best_on_texts_of_the_training_set_that_are_not_drawn(tower, predictions, monkeypatch):
    train, rest = tower.data.train[PLACE[0]], tower.data.remaining(*PLACE)
    found = predictions([train.texts[index] for index in rest], train.labels[rest])
    tested = predictions(tower.data.test.texts, tower.data.test.labels)
    draw = type(tower.data).draw
    monkeypatch.setattr(type(tower.data), "draw", lambda _, *place: draw(tower.data, *place))  # whatever the labels are
    best = set()
    for right in found.values():  # labels of what is not drawn, of which another penalty is right each time
        labels, sets = train.labels.copy(), [*tower.data.train]
        labels[rest] = right
        sets[PLACE[0]] = replace(train, labels=labels)
        own = replace(tower, data=replace(tower.data, train=sets), use_dev=True)
        fixed, chosen = own.tuned_rows(TEXT, TUNING)
        penalty = next(one for one, other in found.items() if np.array_equal(other, right))
        best.add(penalty)
        assert chosen.choose(*PLACE) == penalty
        assert chosen.predict(*PLACE).tolist() == tested[penalty].tolist()
        assert fixed.predict(*PLACE).tolist() == tower.tuned_rows(TEXT, TUNING)[0].predict(*PLACE).tolist()
        assert [fixed.choose, fixed.name, chosen.name] == [None, TEXT, f"penalty chosen: {TEXT}"]
    assert len(best) > 2


def test_choice_of_the_penalty_does_not_look_at_the_test(tower, predictions):
    test = tower.data.test
    wanted = predictions(test.texts, test.labels)
    assert len({tuple(one) for one in wanted.values()}) > 1
    chosen = set()
    for labels in wanted.values():  # each makes another penalty the best one of the test
        own = replace(tower, data=replace(tower.data, test=replace(test, labels=labels)), use_dev=True)
        chosen.add(own.tuned_rows(TEXT, TUNING)[1].choose(*PLACE))
    assert len(chosen) == 1
