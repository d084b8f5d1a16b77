import random

import pytest
import torch
from torch import nn
from wenlan.data.emoji7.dataset import read_concepts
from wenlan.data.emoji7.texts import FURTHER, ConceptTexts
from wenlan.data.rows.epoch import EpochDraws
from wenlan.training.brivl.class_evidence import ClassEvidence, class_features

NAMES = {"zh": ["老虎", "丁鲷"], "en": ["tiger", "tench"]}


@pytest.fixture
def norm():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(40)
    nn.init.normal_(norm.bias)
    nn.init.uniform_(norm.weight)
    return norm


def test_features_speak_for_their_class_around_the_mean_of_what_the_norm_gives(norm):
    classifier = torch.randn(5, 40)
    features = class_features(classifier, norm)
    assert features.min() >= 0
    assert features.max() <= 6
    assert (features @ classifier.T).argmax(dim=1).tolist() == list(range(5))
    mean = norm(torch.randn(20_000, 40, 1, 1)).detach().clamp(0, 6).mean(dim=(0, 2, 3))
    torch.testing.assert_close(class_features(torch.zeros(1, 40), norm)[0], mean, atol=0.03, rtol=0)


class Cached(EpochDraws):
    """Two cached pairs, which draw the texts of a concept."""

    def __init__(self, is_whole=True, **texts):
        super().__init__()
        self.pairs, self.is_whole, self.maps = self, is_whole, torch.zeros(1, 2, 40, 3, 3)
        self.draw_text = ConceptTexts(("zh", "en", "de"), number=3, further=NAMES, **texts)

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return {"group_id": index}


def test_classes_stand_behind_the_pairs_with_their_map_their_names_and_a_group_of_their_own():
    features = torch.rand(2, 40)
    data = ClassEvidence(Cached(), features)
    assert [data[index]["group_id"] for index in range(len(data))] == [0, 1, FURTHER, FURTHER + 1]
    row = data[3]
    assert row["feature_map"].shape == (40, 3, 3)
    torch.testing.assert_close(row["feature_map"][:, 1, 2].float(), features[1], atol=1e-3, rtol=0)
    assert len(row["text"]) == 3
    assert set(row["text"]) <= {"丁鲷", "tench"}
    assert row["text_group_ids"] == [[FURTHER + 1]] * 3


def test_names_are_drawn_anew_in_each_epoch_and_alike_in_the_same():
    data, epochs = ClassEvidence(Cached(), torch.rand(2, 40)), []
    for epoch in (0, 1, 2, 3, 0):
        data.set_epoch(epoch)
        epochs.append((data[2]["text"], data[2]["draw_seed"]))
    assert epochs[0] == epochs[4]
    assert len({str(one) for one in epochs}) == 4


def test_name_that_is_a_concepts_too_is_true_of_both():
    draw = Cached(fixed=1).draw_text
    tigers = draw._text(["tiger"], "en").group_ids
    named = [number for number, concept in read_concepts("en").items() if concept["name_en"] == "tiger"]
    assert {FURTHER, *named} <= set(tigers)
    texts = [one for seed in range(20) for one in draw.draw_further(0, random.Random(seed))]
    texts += [one for seed in range(20) for one in draw({"concept_id": named[0]}, random.Random(seed))]
    assert {tuple(one.group_ids) for one in texts if one.text == "tiger"} == {tuple(tigers)}
    assert FURTHER + 1 not in tigers


def test_texts_of_classes_are_those_that_can_be_drawn():
    assert Cached().draw_text.further_texts == [*NAMES["zh"], *NAMES["en"]]
    with pytest.raises(ValueError, match="in zh, en alone, not in de"):
        ConceptTexts(("de",), further=NAMES)


def test_maps_of_a_part_of_the_backbone_are_refused():
    with pytest.raises(ValueError, match="frozen whole"):
        ClassEvidence(Cached(is_whole=False), torch.rand(2, 40))
