"""Targets, loss and accuracy of visual question answering."""

import pytest
import torch
from helpers.mlmm.tiny import tiny_batch, tiny_config
from helpers.perturb import perturb
from torch.nn import functional as F
from transformers import Trainer, TrainingArguments
from wenlan.modeling_mlmm import MLMMForVisualQuestionAnswering
from wenlan.modeling_mlmm.vqa import answer_targets


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
    with pytest.raises(ValueError, match=r"got \(3, 9\): the answer vocabulary of the model has 7 answers"):
        model(**tiny_batch(), labels=torch.zeros(3, 9))


@pytest.mark.parametrize("answer", [7, -1])
def test_answer_outside_the_pool_is_refused(model, answer):
    with pytest.raises(ValueError, match=rf"Answer id {answer} is not in the answer vocabulary: ids are 0\.\.6"):
        model(**tiny_batch(), labels=torch.tensor([0, answer, 2]))


@pytest.mark.parametrize("score", [1.5, -0.3])
def test_scores_outside_zero_to_one_are_refused(model, score):
    targets = torch.zeros(3, 7)
    targets[1, 2] = score
    with pytest.raises(ValueError, match=r"must be in 0\.\.1"):
        model(**tiny_batch(), labels=targets)


def test_trainer_predicts_one_row_of_logits_a_question(model, tmp_path):
    batch = {**tiny_batch(), "labels": torch.rand(3, 7)}
    rows = [{name: value[i] for name, value in batch.items()} for i in range(3)]
    arguments = TrainingArguments(tmp_path, per_device_eval_batch_size=2, use_cpu=True, disable_tqdm=True)
    prediction = Trainer(model, arguments).predict(rows)
    logits = run(model, **tiny_batch()).logits
    torch.testing.assert_close(torch.tensor(prediction.predictions), logits, atol=1e-5, rtol=0)
    assert prediction.metrics["test_loss"] > 0


def test_trainer_divides_the_loss_by_the_accumulation(tmp_path):
    model = perturb(MLMMForVisualQuestionAnswering(tiny_config()))
    batch = {**tiny_batch(), "labels": torch.rand(3, 7)}
    rows = [{name: value[i % 3] for name, value in batch.items()} for i in range(6)]
    losses = []
    for accumulation in (1, 2):
        arguments = TrainingArguments(
            tmp_path,
            per_device_train_batch_size=6 // accumulation,
            gradient_accumulation_steps=accumulation,
            max_steps=1,
            logging_steps=1,
            learning_rate=0.0,
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = Trainer(model, arguments, train_dataset=rows)
        trainer.train()
        losses.append(trainer.state.log_history[0]["loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_question_without_a_image_is_answered(model):
    ids = tiny_batch()["input_ids"]
    assert run(model, input_ids=ids).logits.shape == (3, 7)
