"""Scores, groups and losses of image-text retrieval."""

import pytest
import torch
from helpers.mlmm.tiny import tiny_batch, tiny_config
from helpers.perturb import perturb
from wenlan.modeling_mlmm import MLMMForImageTextRetrieval
from wenlan.modeling_mlmm.retrieval import margin_ranking_loss


@pytest.fixture(scope="module")
def model():
    return perturb(MLMMForImageTextRetrieval(tiny_config()))


@pytest.fixture(scope="module")
def matcher():
    return perturb(MLMMForImageTextRetrieval(tiny_config(retrieval_loss="itm")))


@torch.no_grad()
def run(model, **inputs):
    return model(**inputs)


def test_score_is_the_raw_output_of_the_rank_head(model):
    batch = tiny_batch()
    pooled = run(model.mlmm, **batch).pooler_output
    output = run(model, **batch)
    torch.testing.assert_close(output.scores, model.rank_head(pooled)[:, 0])
    assert output.loss is None


def test_groups_of_different_sizes_are_ranked_within_themselves():
    scores, labels = torch.tensor([2.0, 1.0, -1.0, 0.5, 3.0]), torch.tensor([1, 0, 0, 1, 0])
    loss, accuracy = margin_ranking_loss(scores, labels, margin=0.2)
    s = scores.sigmoid()
    expected = torch.stack([0.2 + s[1] - s[0], 0.2 + s[2] - s[0], 0.2 + s[4] - s[3]]).clamp(min=0).mean()
    torch.testing.assert_close(loss, expected)
    assert accuracy.item() == pytest.approx(2 / 3)


def test_margin_is_the_one_of_the_configuration(model):
    labels = torch.tensor([1, 0, 0])
    wide = perturb(MLMMForImageTextRetrieval(tiny_config(rank_margin=0.9)))
    output = run(wide, **tiny_batch(), labels=labels)
    torch.testing.assert_close(output.loss, margin_ranking_loss(output.scores, labels, margin=0.9)[0])
    assert output.loss > run(model, **tiny_batch(), labels=labels).loss + 0.5


def test_group_without_wrong_pairs_has_loss_zero():
    loss, accuracy = margin_ranking_loss(torch.tensor([1.0, 2.0]), torch.tensor([1, 1]), margin=0.2)
    assert (loss.item(), accuracy.item()) == (0, 0)


def test_group_that_begins_with_a_wrong_pair_is_refused(model):
    with pytest.raises(ValueError, match="first pair must be a matching one"):
        model(**tiny_batch(), labels=torch.tensor([0, 1, 0]))


def test_labels_of_another_number_are_refused(model):
    with pytest.raises(ValueError, match=r"labels must be \(3,\), one for each pair, got \(2,\)"):
        model(**tiny_batch(), labels=torch.tensor([1, 0]))


def test_matching_loss_scores_by_the_log_odds(matcher):
    batch = tiny_batch()
    probability = matcher.itm_head(run(matcher.mlmm, **batch).pooler_output).softmax(-1)[:, 1]
    labels = torch.tensor([0, 1, 0])
    output = run(matcher, **batch, labels=labels)
    torch.testing.assert_close(output.scores.sigmoid(), probability)
    torch.testing.assert_close(output.loss, torch.nn.functional.binary_cross_entropy(probability, labels.float()))
    torch.testing.assert_close(output.accuracy, ((probability > 0.5) == labels.bool()).float().mean())


@pytest.mark.parametrize(("loss", "frozen"), [("margin", "itm_head"), ("itm", "rank_head")])
def test_head_that_the_loss_does_not_use_is_frozen(loss, frozen, tmp_path):
    model = MLMMForImageTextRetrieval(tiny_config(retrieval_loss=loss))
    model.save_pretrained(tmp_path)
    for each in (model, MLMMForImageTextRetrieval.from_pretrained(tmp_path)):
        names = {name for name, parameter in each.named_parameters() if not parameter.requires_grad}
        assert names == {f"{frozen}.weight", f"{frozen}.bias", "mlmm.region_embeddings.mask_feature"}


def test_pairs_that_are_embedded_already_get_the_same_scores(model, matcher):
    averager = perturb(MLMMForImageTextRetrieval(tiny_config(pooling="mean")))
    batch = tiny_batch()
    for one in (model, matcher, averager):
        states, mask = one.mlmm._embed(
            batch["input_ids"],
            batch["attention_mask"],
            None,
            None,
            (batch["region_features"], batch["region_boxes"], batch["region_attention_mask"], None),
        )
        text_mask = mask & (torch.arange(mask.shape[1]) < batch["input_ids"].shape[1])
        with torch.no_grad():
            torch.testing.assert_close(one.score_embedded(states, text_mask, mask), run(one, **batch).scores)
