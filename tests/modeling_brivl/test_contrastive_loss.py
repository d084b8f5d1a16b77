import pytest
import torch
from torch.nn import functional as F
from wenlan.modeling_brivl.contrastive_loss import info_nce, similarity_logits


def one_positive(labels, count):
    return F.one_hot(labels, count).bool()


def test_one_positive_is_the_cross_entropy():
    logits, labels = torch.randn(5, 7), torch.tensor([0, 3, 6, 3, 1])
    torch.testing.assert_close(info_nce(logits, one_positive(labels, 7)), F.cross_entropy(logits, labels))


def test_single_entry_costs_nothing():
    assert info_nce(torch.randn(3, 1), torch.ones(3, 1, dtype=torch.bool)).item() == 0


def test_entries_that_are_neither_positive_nor_negative_are_left_out():
    logits, labels = torch.randn(4, 6), torch.tensor([0, 1, 2, 3])
    negatives = torch.rand(4, 6) > 0.5
    negatives[torch.arange(4), labels] = False
    left_out = logits.masked_fill(~(negatives | one_positive(labels, 6)), float("-inf"))
    loss = info_nce(logits, one_positive(labels, 6), negatives)
    torch.testing.assert_close(loss, F.cross_entropy(left_out, labels))


def test_entries_that_are_left_out_get_no_gradient_and_others_do():
    logits = torch.randn(3, 4, requires_grad=True)
    positives = one_positive(torch.tensor([0, 0, 0]), 4)
    negatives = torch.tensor([[False, True, True, False]] * 3)
    (gradient,) = torch.autograd.grad(info_nce(logits, positives, negatives), logits)
    assert gradient[:, 3].abs().max() == 0
    assert gradient[:, :3].abs().min() > 0


def test_row_without_negatives_costs_nothing_and_stays_finite():
    logits = torch.randn(2, 3, requires_grad=True)
    positives, none = one_positive(torch.tensor([1, 2]), 3), torch.zeros(2, 3, dtype=torch.bool)
    loss = info_nce(logits, positives, none)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.isfinite().all()


def test_several_positives_are_summed_and_not_divided_by_their_number():
    logits = torch.randn(2, 5)
    positives = torch.tensor([[True, False, True, True, False], [True, False, False, False, False]])
    log_probabilities = logits.log_softmax(dim=1)
    expected = -(log_probabilities[0, [0, 2, 3]].sum() + log_probabilities[1, 0]) / 2
    torch.testing.assert_close(info_nce(logits, positives), expected)


def test_loss_is_the_mean_over_rows():
    logits, positives = torch.randn(6, 5), one_positive(torch.arange(6) % 5, 5)
    rows = [info_nce(logits[i : i + 1], positives[i : i + 1]) for i in range(6)]
    torch.testing.assert_close(info_nce(logits, positives), torch.stack(rows).mean())


@pytest.mark.parametrize("scale", [1e3, 1e5])
def test_large_logits_stay_finite(scale):
    logits, labels = scale * torch.randn(3, 4), torch.tensor([0, 1, 2])
    loss = info_nce(logits, one_positive(labels, 4), ~one_positive(labels, 4))
    torch.testing.assert_close(loss, F.cross_entropy(logits, labels))


def test_logits_stay_float32_under_autocast():
    queries, keys = (F.normalize(torch.randn(5, 64), dim=1) for _ in range(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = similarity_logits(queries, keys, temperature=0.07)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, (queries.double() @ keys.double().T / 0.07).float(), atol=1e-4, rtol=0)
