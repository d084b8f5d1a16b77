"""Words at every place of a text, with and without an image."""

import pytest
import torch
from helpers.mlmm.tiny import tiny_batch, tiny_config
from helpers.perturb import perturb
from wenlan.modeling_mlmm import MLMMForMaskedLM, MLMMForPreTraining


@pytest.fixture(scope="module")
def model():
    return perturb(MLMMForMaskedLM(tiny_config()))


@torch.no_grad()
def run(model, **inputs):
    return model(**inputs)


def test_every_token_has_logits_and_the_loss_counts_the_labelled_ones(model):
    labels = torch.full((3, 7), -100)
    labels[1, 2] = 8
    output = run(model, **tiny_batch(), labels=labels)
    assert output.logits.shape == (3, 7, 61)
    torch.testing.assert_close(output.loss, -output.logits[1, 2].log_softmax(-1)[8])


def test_image_changes_the_words(model):
    batch = tiny_batch()
    text = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    assert (run(model, **batch).logits - run(model, **text).logits)[0].abs().max() > 1e-3


def test_logits_are_those_of_pretraining(model):
    pretraining = MLMMForPreTraining(tiny_config()).eval()
    pretraining.load_state_dict(model.state_dict(), strict=False)
    labels = torch.full((3, 7), -100)
    labels[0, 3] = 5
    expected = run(pretraining, **tiny_batch(), mlm_labels=labels).mlm_logits
    torch.testing.assert_close(run(model, **tiny_batch()).logits[0, 3][None], expected, atol=1e-6, rtol=0)
