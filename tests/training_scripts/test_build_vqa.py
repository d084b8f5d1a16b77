import pytest
import torch
from mlmm_folder import ANSWERS, write_model
from wenlan.modeling_mlmm import MLMMForPreTraining, MLMMForVisualQuestionAnswering
from wenlan.training_scripts.build_vqa import build_vqa_model, log_odds

TARGETS = [{0: 1.0}, {0: 0.3, 1: 0.9}, {}, {}]


def test_log_odds_are_those_of_the_mean_score():
    shares = torch.tensor([1.3 / 4, 0.9 / 4, 1e-4])
    torch.testing.assert_close(log_odds(TARGETS, 3), torch.log(shares / (1 - shares)))


def test_new_head_starts_from_the_frequencies_of_answers(tmp_path):
    model = build_vqa_model(str(write_model(tmp_path / "mlmm", MLMMForPreTraining)), ["a", "b", "c"], TARGETS)
    torch.testing.assert_close(model.vqa_head.classifier.bias, log_odds(TARGETS, 3))
    assert model.config.id2label == {0: "a", 1: "b", 2: "c"}


def test_head_that_was_trained_keeps_its_bias(tmp_path):
    folder = write_model(tmp_path / "vqa")
    model = build_vqa_model(str(folder), ANSWERS, TARGETS)
    trained = MLMMForVisualQuestionAnswering.from_pretrained(folder)
    assert torch.equal(model.vqa_head.classifier.bias, trained.vqa_head.classifier.bias)
    assert model.vqa_head.classifier.bias.detach().numpy() != pytest.approx(log_odds(TARGETS, len(ANSWERS)).numpy())
