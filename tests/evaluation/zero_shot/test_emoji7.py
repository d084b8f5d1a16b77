"""The evaluation of a really trained model, and the controls that show it measures what it says."""

import json

import pytest
from transformers import AutoModel, AutoProcessor
from wenlan.evaluation import evaluate_emoji7

from wenlan import BriVLModel

pytestmark = pytest.mark.slow
DIRECTIONS = ("i2t", "t2i")


@pytest.fixture(scope="module")
def processor(quickstart_folder):
    return AutoProcessor.from_pretrained(quickstart_folder)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_short_training_is_far_above_chance_on_the_unseen_style(quickstart_folder, direction):
    results = json.loads((quickstart_folder / "metrics.json").read_text("utf-8"))
    retrieval = results["test/retrieval"]
    assert retrieval["style"] == "fluent3d"
    assert retrieval["candidates"] == 1198
    assert retrieval[f"{direction}_R@10"] > 6 * retrieval[f"{direction}_chance_R@10"]
    assert results["test/zero_shot_prototype"]["top-1"] > 2 * results["test/zero_shot_prototype"]["chance_top-1"]


@pytest.fixture(scope="module")
def permuted(quickstart_folder, processor):
    model = AutoModel.from_pretrained(quickstart_folder).eval()
    return evaluate_emoji7(model, processor, permute_names_seed=1)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("split", ["validation", "test"])
def test_permuted_names_fall_to_chance(permuted, split, direction):
    retrieval = permuted[f"{split}/retrieval"]
    for k in (1, 5, 10):
        assert retrieval[f"{direction}_R@{k}"] <= 3 * retrieval[f"{direction}_chance_R@{k}"]


def test_permuted_groups_fall_to_chance(permuted):
    zero_shot = permuted["test/zero_shot_prototype"]
    assert zero_shot["top-1"] <= 1.5 * zero_shot["chance_top-1"]


@pytest.fixture(scope="module")
def untrained(quickstart_folder, processor):
    model = BriVLModel(AutoModel.from_pretrained(quickstart_folder).config).eval()
    return evaluate_emoji7(model, processor)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_untrained_towers_stay_at_chance(untrained, direction):
    retrieval = untrained["test/retrieval"]
    for k in (1, 5, 10):
        assert retrieval[f"{direction}_R@{k}"] <= 3 * retrieval[f"{direction}_chance_R@{k}"]
