"""Targets, loss and accuracy of visual question answering."""

import pytest
import torch
from mlmm_tiny import perturb, tiny_batch, tiny_config
from torch.nn import functional as F
from wenlan.modeling_mlmm import MLMMForVisualQuestionAnswering
from wenlan.modeling_mlmm.vqa_mlmm import answer_targets


@pytest.fixture(scope="module")
def model():
    return perturb(MLMMForVisualQuestionAnswering(tiny_config()))


@torch.no_grad()
def run(model, **inputs):
    return model(**inputs)


def test_loss_is_summed_over_the_answers_and_mean_over_the_questions(model):
    targets = torch.tensor([[0, 0.3, 0, 0, 0.9, 0, 0], [0] * 7, [1, 0, 0, 0, 0, 0, 0.6]])
    output = run(model, **tiny_batch(), labels=targets)
    expected = F.binary_cross_entropy_with_logits(output.logits, targets) * 7
    torch.testing.assert_close(output.loss, expected)


def test_accuracy_is_the_mean_target_of_the_best_answers(model):
    best = run(model, **tiny_batch()).logits.argmax(dim=1)
    targets = torch.zeros(3, 7)
    targets[0, best[0]], targets[1, best[1]] = 0.3, 0.9
    assert run(model, **tiny_batch(), labels=targets).accuracy.item() == pytest.approx(0.4)


def test_answer_ids_are_targets_of_one(model):
    ids = torch.tensor([4, -100, 0])
    expected = torch.zeros(3, 7)
    expected[0, 4] = expected[2, 0] = 1
    assert torch.equal(answer_targets(ids, 3, 7), expected)
    assert run(model, **tiny_batch(), labels=ids).loss == run(model, **tiny_batch(), labels=expected).loss


def test_labels_of_another_pool_name_both_sizes(model):
    with pytest.raises(ValueError, match=r"got \(3, 9\): the pool of the model has 7 answers"):
        model(**tiny_batch(), labels=torch.zeros(3, 9))


@pytest.mark.parametrize("answer", [7, -1])
def test_answer_outside_the_pool_is_refused(model, answer):
    with pytest.raises(ValueError, match=rf"Answer id {answer} is not in the pool: ids are 0\.\.6"):
        model(**tiny_batch(), labels=torch.tensor([0, answer, 2]))


@pytest.mark.parametrize("score", [1.5, -0.3])
def test_scores_outside_zero_to_one_are_refused(model, score):
    targets = torch.zeros(3, 7)
    targets[1, 2] = score
    with pytest.raises(ValueError, match=r"must be in 0\.\.1"):
        model(**tiny_batch(), labels=targets)


def test_question_without_a_picture_is_answered(model):
    ids = tiny_batch()["input_ids"]
    assert run(model, input_ids=ids).logits.shape == (3, 7)
