import numpy as np
import pytest
import torch
from helpers.mlmm.corpus_files import WIDTH, region_row
from helpers.mlmm.tiny import tiny_batch, tiny_config
from transformers import TrainingArguments
from wenlan.modeling_mlmm import MLMMForVisualQuestionAnswering
from wenlan.processing import MLMMProcessor, load_small_tokenizer
from wenlan.training.vqa.trainer import VQACollator, VQATrainer


@pytest.fixture
def processor():
    return MLMMProcessor(load_small_tokenizer(), region_feature_dim=WIDTH)


def test_head_learns_faster_by_its_factor(tmp_path):
    args = TrainingArguments(str(tmp_path), learning_rate=1e-3, weight_decay=0.1, use_cpu=True, report_to="none")
    trainer = VQATrainer(MLMMForVisualQuestionAnswering(tiny_config()), args, head_lr_factor=10)
    rates = {id(p): (g["lr"], g["weight_decay"]) for g in trainer.create_optimizer().param_groups for p in g["params"]}
    names = {name: value for name, value in trainer.model.named_parameters() if value.requires_grad}
    found = {name: rates[id(value)] for name, value in names.items()}
    assert found["vqa_head.classifier.weight"] == (pytest.approx(1e-2), 0.1)
    assert found["vqa_head.classifier.bias"] == (pytest.approx(1e-2), 0.0)
    others = [rate for name, (rate, _) in found.items() if "vqa_head" not in name]
    assert set(others) == {1e-3}
    assert len(rates) == len(names)


def test_prediction_is_the_number_of_the_best_answer(tmp_path):
    args = TrainingArguments(str(tmp_path), use_cpu=True, report_to="none")
    trainer = VQATrainer(MLMMForVisualQuestionAnswering(tiny_config()).eval(), args)
    batch = tiny_batch()
    loss, best, _ = trainer.prediction_step(trainer.model, batch, prediction_loss_only=False)
    assert loss is None
    assert torch.equal(best, trainer.model(**batch).logits.argmax(dim=1))


def test_question_only_sees_neither_features_nor_number_of_regions(processor):
    rows = [{"text": "What is it?", "regions": region_row("1.png", classes)} for classes in ([0], [1, 2, 3])]
    batch = VQACollator(processor, num_answers=2, question_only=True)(rows)
    assert batch["region_features"].shape == (2, 1, WIDTH)
    assert not batch["region_features"].any()
    assert torch.equal(batch["region_boxes"][0], batch["region_boxes"][1])
    assert "labels" not in batch


def test_question_only_is_trained_on_every_row_with_its_labels(processor):
    rows = [{"text": "What?", "regions": region_row("1.png", [0]), "answers": {1: 0.9}}] * 2
    batch = VQACollator(processor, num_answers=2, question_only=True)(rows)
    assert batch["labels"].tolist() == [[0, pytest.approx(0.9)]] * 2


def test_image_with_broken_regions_is_answered_without_looking_and_counted(processor):
    broken = region_row("2.png", [0, 1]) | {"features": np.full((2, WIDTH), np.nan)}
    rows = [{"text": "What is it?", "regions": regions} for regions in (region_row("1.png", [0, 1]), broken)]
    collator = VQACollator(processor, num_answers=2)
    batch = collator(rows)
    assert batch["region_attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert not batch["region_features"][1].any()
    assert collator.bad_rows.counts == {"not finite": 1}


def test_image_with_broken_regions_is_left_out_of_training(processor):
    broken = region_row("2.png", [0]) | {"features": np.full((1, WIDTH), np.nan)}
    rows = [{"text": "What?", "regions": one, "answers": {0: 1.0}} for one in (broken, region_row("1.png", [0]))]
    assert len(VQACollator(processor, num_answers=2)(rows)["labels"]) == 1
