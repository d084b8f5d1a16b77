"""Started from XLM-R, a text alone gives XLM-R's numbers: states, pooled output and words."""

import pytest
import torch
from helpers.mlmm.tiny import tiny_batch
from helpers.perturb import perturb
from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM, XLMRobertaModel
from wenlan.modeling_mlmm import (
    MLMMForMaskedLM,
    MLMMForPreTraining,
    MLMMModel,
    config_of_original,
    load_original_checkpoint,
)

TOLERANCE = {"atol": 1e-5, "rtol": 0}
XLM_R = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 20,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
}
REGIONS = {"region_feature_dim": 10, "num_region_classes": 9, "num_attention_heads": 3}


def texts():
    batch = tiny_batch(pad_text=2)
    return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}


@pytest.fixture(scope="module")
def encoder():
    return perturb(XLMRobertaModel(XLMRobertaConfig(**XLM_R)))


@pytest.fixture(scope="module")
def language_model():
    return perturb(XLMRobertaForMaskedLM(XLMRobertaConfig(**XLM_R)))


def started_from(model_class, state, **overrides):
    model = model_class(config_of_original(state, **REGIONS, **overrides)).eval()
    return model, load_original_checkpoint(model, state)


def test_states_and_pooled_output_of_texts_are_those_of_xlm_r(encoder):
    tower, _ = started_from(MLMMModel, encoder.state_dict())
    with torch.no_grad():
        expected, actual = encoder(**texts()), tower(**texts())
    mask = texts()["attention_mask"].bool()
    torch.testing.assert_close(actual.text_states[mask], expected.last_hidden_state[mask], **TOLERANCE)
    torch.testing.assert_close(actual.pooler_output, expected.pooler_output, **TOLERANCE)


def test_words_filled_into_texts_are_those_of_xlm_r(language_model):
    model, report = started_from(MLMMForMaskedLM, language_model.state_dict())
    with torch.no_grad():
        expected, actual = language_model(**texts()).logits, model(**texts()).logits
    mask = texts()["attention_mask"].bool()
    torch.testing.assert_close(actual[mask], expected[mask], **TOLERANCE)
    assert (report.unused, report.unknown) == ([], [])


def test_masked_language_loss_of_texts_is_that_of_xlm_r(language_model):
    model, _ = started_from(MLMMForPreTraining, language_model.state_dict())
    labels = texts()["input_ids"].masked_fill(torch.rand(3, 9) < 0.5, -100)
    labels[texts()["attention_mask"] == 0] = -100
    with torch.no_grad():
        expected = language_model(**texts(), labels=labels).loss
        actual = model(**texts(), mlm_labels=labels).loss
    torch.testing.assert_close(actual, expected, atol=0, rtol=1e-5)


def test_both_token_types_start_as_the_one_of_xlm_r(encoder):
    tower, _ = started_from(MLMMModel, encoder.state_dict())
    types = tower.text_embeddings.token_type_embeddings.weight
    theirs = encoder.embeddings.token_type_embeddings.weight
    assert torch.equal(types, theirs.expand(2, -1))


def test_report_names_what_xlm_r_does_not_have(language_model):
    _, report = started_from(MLMMForPreTraining, language_model.state_dict())
    assert report.family == "xlm-r"
    parts = {name.removeprefix("mlmm.").split(".")[0] for name in report.new}
    assert parts == {"region_embeddings", "pooler", "itm_head", "mrfr_head", "mrc_head"}


def test_sizes_of_xlm_r_base_are_the_defaults():
    with torch.device("meta"):
        base = XLMRobertaModel(
            XLMRobertaConfig(vocab_size=250002, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5)
        )
    config = config_of_original(base.state_dict())
    changed = config.to_diff_dict().keys() - type(config)().to_diff_dict().keys()
    assert changed == set()
    assert config.to_dict() == type(config)().to_dict()
