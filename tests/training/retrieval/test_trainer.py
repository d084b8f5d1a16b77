import pytest
import torch
from torch import nn
from wenlan.training.retrieval.trainer import HardNegatives, keep_hardest


class Scorer(nn.Module):
    """Scores a pair by the number that its image is; notes whether it was training and how many pairs came."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, input_ids, region_features):
        self.calls.append((self.training, torch.is_grad_enabled(), len(input_ids)))
        return type("Output", (), {"scores": region_features[:, 0, 0]})


def batch_of(groups):
    """Groups of (own text, [score of the matching pair, of wrong images...], [score of wrong texts...])."""
    ids, scores, labels = [], [], []
    for text, images, texts in groups:
        ids += [[text, 2]] * len(images) + [[text + 10 + number, 2] for number in range(len(texts))]
        scores += images + texts
        labels += [1] + [0] * (len(images) + len(texts) - 1)
    features = torch.tensor(scores)[:, None, None]
    return {"input_ids": torch.tensor(ids), "region_features": features, "labels": torch.tensor(labels)}


GROUPS = [(100, [0.5, 0.1, 0.9, 0.3], [0.2, 0.8, 0.7]), (200, [-3.0, 4.0, 6.0, 5.0], [1.0, 3.0, 2.0])]


def kept_scores(keep, groups=GROUPS):
    kept = keep_hardest(Scorer(), batch_of(groups), keep)
    return [round(score, 3) for score in kept["region_features"][:, 0, 0].tolist()], kept["labels"].tolist()


def test_hardest_of_each_kind_stay_with_the_matching_pair_first():
    scores, labels = kept_scores(1)
    assert scores == [0.5, 0.9, 0.8, -3.0, 6.0, 3.0]
    assert labels == [1, 0, 0] * 2


def test_several_are_kept_hardest_first():
    scores, labels = kept_scores(2)
    assert scores == [0.5, 0.9, 0.3, 0.8, 0.7, -3.0, 6.0, 5.0, 3.0, 2.0]
    assert labels == [1, 0, 0, 0, 0] * 2


def test_group_with_fewer_images_than_are_kept_keeps_what_it_has():
    scores, labels = kept_scores(2, [(100, [0.5, 0.1], [0.2, 0.8, 0.7]), GROUPS[1]])
    assert scores == [0.5, 0.1, 0.8, 0.7, -3.0, 6.0, 5.0, 3.0, 2.0]
    assert labels == [1, 0, 0, 0, 1, 0, 0, 0, 0]


def test_pairs_are_scored_without_gradient_and_without_dropout_and_the_mode_is_restored():
    scorer = Scorer().train()
    keep_hardest(scorer, batch_of(GROUPS), 1)
    assert scorer.calls == [(False, False, 14)]
    assert scorer.training


def test_large_batches_are_scored_in_chunks():
    scorer = Scorer()
    keep_hardest(scorer, batch_of([(100, [0.5] + [0.1] * 300, [0.2])]), 1)
    assert [count for *_, count in scorer.calls] == [256, 46]


@pytest.mark.parametrize(("pool", "keep"), [(3, 0), (2, 3)])
def test_keeping_none_or_more_than_there_are_is_refused(pool, keep):
    with pytest.raises(ValueError, match=f"keeps {keep} of a pool of {pool}"):
        HardNegatives(pool, keep)


def test_an_empty_mapping_is_no_hard_negatives_and_unknown_keys_are_refused():
    assert HardNegatives.from_mapping({}) is None
    assert HardNegatives.from_mapping({"pool": 399, "keep": 31}) == HardNegatives(399, 31)
    with pytest.raises(ValueError, match="whole numbers for pool and keep"):
        HardNegatives.from_mapping({"pool": 3, "keep": 1, "every": 5})
