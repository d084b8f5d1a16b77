import pytest
import torch
from helpers.mlmm.folder import ANSWERS, write_model
from transformers import AutoTokenizer
from wenlan.modeling_mlmm import MLMMForPreTraining, MLMMForVisualQuestionAnswering
from wenlan.training.vqa.model import build_vqa_model, log_odds

TARGETS = [{0: 1.0}, {0: 0.3, 1: 0.9}, {}, {}]


def test_log_odds_are_those_of_the_mean_score():
    fractions = torch.tensor([1.3 / 4, 0.9 / 4, 1e-4])
    torch.testing.assert_close(log_odds(TARGETS, 3), torch.log(fractions / (1 - fractions)))


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


def test_answers_of_a_new_head_start_from_the_embeddings_of_their_words(tmp_path):
    folder, pool = write_model(tmp_path / "mlmm", MLMMForPreTraining), ["two cats", "cats", "\u200b", "red"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = build_vqa_model(str(folder), pool, tokenizer=tokenizer)
    plain = build_vqa_model(str(folder), pool)
    embeddings, weight = model.get_input_embeddings().weight, model.vqa_head.classifier.weight
    words = torch.stack(
        [
            embeddings[tokenizer(answer, add_special_tokens=False)["input_ids"] or [tokenizer.unk_token_id]].mean(dim=0)
            for answer in pool
        ]
    )
    width = words.shape[1]
    expected, found = words - words.mean(dim=0), weight[:, :width]
    torch.testing.assert_close(found / found.norm(), expected / expected.norm())
    assert found.std(dim=0).square().mean().sqrt().item() == pytest.approx(weight[:, width:].std().item(), rel=0.2)
    assert weight.shape == plain.vqa_head.classifier.weight.shape
    assert torch.equal(model.vqa_head.classifier.bias, plain.vqa_head.classifier.bias)


def test_answers_that_were_trained_keep_their_weights(tmp_path):
    folder = write_model(tmp_path / "vqa")
    model = build_vqa_model(str(folder), ANSWERS, tokenizer=AutoTokenizer.from_pretrained(folder))
    trained = MLMMForVisualQuestionAnswering.from_pretrained(folder)
    assert torch.equal(model.vqa_head.classifier.weight, trained.vqa_head.classifier.weight)
