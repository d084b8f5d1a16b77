"""What is saved comes back: bits, ties, frozen weights; and one checkpoint opens as every model."""

import logging

import pytest
import torch
from helpers.mlmm.tiny import SIZES, tiny_batch, tiny_config
from helpers.perturb import perturb
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForVisualQuestionAnswering,
)
from wenlan.modeling_mlmm import (
    MLMMConfig,
    MLMMForImageTextRetrieval,
    MLMMForMaskedLM,
    MLMMForPreTraining,
    MLMMForVisualQuestionAnswering,
    MLMMModel,
)

import wenlan  # noqa: F401  makes the Auto classes know MLMM

MODELS = (
    MLMMModel,
    MLMMForPreTraining,
    MLMMForMaskedLM,
    MLMMForImageTextRetrieval,
    MLMMForVisualQuestionAnswering,
)
AUTO_CLASSES = {
    AutoModel: MLMMModel,
    AutoModelForPreTraining: MLMMForPreTraining,
    AutoModelForMaskedLM: MLMMForMaskedLM,
    AutoModelForVisualQuestionAnswering: MLMMForVisualQuestionAnswering,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlmm")
    perturb(MLMMForPreTraining(tiny_config())).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def saved(folder):
    return MLMMForPreTraining.from_pretrained(folder)


def saved_names(folder):
    with safe_open(folder / "model.safetensors", "pt") as file:
        return set(file.keys())


@pytest.mark.parametrize("model_class", MODELS)
def test_saved_model_comes_back_bit_by_bit(model_class, tmp_path):
    model = perturb(model_class(tiny_config()))
    model.save_pretrained(tmp_path)
    loaded, info = model_class.from_pretrained(tmp_path, output_loading_info=True)
    assert [info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")] == [set()] * 3
    state = loaded.state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    with torch.no_grad():
        expected, actual = model(**tiny_batch()), loaded.eval()(**tiny_batch())
    assert len(expected) > 0
    for name, value in expected.items():  # where weights lie in memory moves the last bit of a product
        torch.testing.assert_close(actual[name], value, atol=1e-6, rtol=0)


@pytest.mark.parametrize("model_class", [MLMMForPreTraining, MLMMForMaskedLM])
def test_tied_words_are_stored_once_and_tied_after_loading(model_class, tmp_path):
    model_class(tiny_config()).save_pretrained(tmp_path)
    assert "mlmm.text_embeddings.word_embeddings.weight" in saved_names(tmp_path)
    assert "mlm_head.decoder.weight" not in saved_names(tmp_path)
    loaded = model_class.from_pretrained(tmp_path)
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight


def test_projection_of_features_is_stored_once_and_trains_from_both_sides(folder, saved):
    assert {name for name in saved_names(folder) if name.startswith("mrfr_head.")} == {
        "mrfr_head.bias",
        "mrfr_head.transform.dense.bias",
        "mrfr_head.transform.dense.weight",
        "mrfr_head.transform.norm.bias",
        "mrfr_head.transform.norm.weight",
    }
    weight = saved.mlmm.region_embeddings.feature_projection.weight
    (gradient,) = torch.autograd.grad(saved.mrfr_head(torch.rand(2, 24), weight).sum(), weight)
    assert gradient.abs().max() > 0


def test_resized_vocabulary_stays_tied(folder):
    model = MLMMForPreTraining.from_pretrained(folder)
    model.resize_token_embeddings(70)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    labels = torch.full((1, 4), 69)
    output = model(input_ids=torch.tensor([[0, 65, 69, 2]]), mlm_labels=labels)
    assert output.mlm_logits.shape == (4, 70)


@pytest.mark.parametrize("model_class", MODELS)
def test_frozen_words_are_frozen_after_building_and_after_loading(model_class, tmp_path):
    model = model_class(tiny_config(freeze_word_embeddings=True))
    model.save_pretrained(tmp_path)
    for each in (model, model_class.from_pretrained(tmp_path)):
        frozen = {name for name, parameter in each.named_parameters() if not parameter.requires_grad}
        assert {name.removeprefix("mlmm.") for name in frozen if "embeddings" in name} == {
            "text_embeddings.word_embeddings.weight",
            *(name for name in model_class._unused_parameters if "embeddings" in name),
        }


def test_frozen_words_get_no_gradient(folder):
    model = MLMMForPreTraining.from_pretrained(folder, freeze_word_embeddings=True)
    batch = tiny_batch()
    model(**batch, mlm_labels=batch["input_ids"]).loss.backward()
    assert model.get_input_embeddings().weight.grad is None
    assert model.mlm_head.decoder.bias.grad.abs().max() > 0


@pytest.mark.parametrize("model_class", MODELS)
def test_pretraining_checkpoint_opens_as_every_model(model_class, folder, saved):
    loaded = model_class.from_pretrained(folder)
    assert all(
        torch.equal(tensor, saved.base_model.state_dict()[name])
        for name, tensor in loaded.base_model.state_dict().items()
    )


@pytest.mark.parametrize("auto_class", AUTO_CLASSES)
def test_auto_class_opens_the_folder(auto_class, folder):
    assert type(AutoConfig.from_pretrained(folder)) is MLMMConfig
    assert type(auto_class.from_pretrained(folder)) is AUTO_CLASSES[auto_class]


def test_rank_head_starts_as_the_matching_row_of_the_pretrained_head(folder, saved):
    loaded = MLMMForImageTextRetrieval.from_pretrained(folder)
    assert torch.equal(loaded.rank_head.weight[0], saved.itm_head.weight[1])
    assert torch.equal(loaded.rank_head.bias[0], saved.itm_head.bias[1])


@pytest.fixture
def load_report(caplog, monkeypatch):
    """What transformers has logged; its load report is a warning."""
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    return caplog


def test_rank_head_that_starts_from_the_pretrained_head_is_not_reported_missing(folder, load_report):
    _, info = MLMMForImageTextRetrieval.from_pretrained(folder, output_loading_info=True)
    assert "rank_head" not in load_report.text
    assert info["missing_keys"] == set()


@pytest.mark.parametrize(
    ("lacking", "reported"),
    [
        (["rank_head.bias"], {"rank_head.bias"}),
        (["rank_head.weight"], {"rank_head.weight"}),
        (["rank_head", "itm_head.bias"], {"rank_head.weight", "rank_head.bias", "itm_head.bias"}),
    ],
)
def test_rank_head_that_cannot_start_so_is_reported_missing(lacking, reported, tmp_path, load_report):
    model = perturb(MLMMForImageTextRetrieval(tiny_config()))
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(tuple(lacking))}
    model.save_pretrained(tmp_path, state_dict=state)
    loaded, info = MLMMForImageTextRetrieval.from_pretrained(tmp_path, output_loading_info=True)
    assert info["missing_keys"] == reported
    assert all(name in load_report.text for name in reported)
    kept = [name for name in model.state_dict() if name not in reported]
    assert all(torch.equal(loaded.state_dict()[name], model.state_dict()[name]) for name in kept)


def test_trained_rank_head_is_kept(tmp_path):
    model = perturb(MLMMForImageTextRetrieval(tiny_config()))
    model.save_pretrained(tmp_path)
    loaded = MLMMForImageTextRetrieval.from_pretrained(tmp_path)
    assert torch.equal(loaded.rank_head.weight, model.rank_head.weight)
    assert torch.equal(loaded.rank_head.bias, model.rank_head.bias)


def test_names_of_answers_come_back(tmp_path):
    names = {0: "yes", 1: "no", 2: "二"}
    config = MLMMConfig(**SIZES, id2label=names, label2id={name: i for i, name in names.items()})
    MLMMForVisualQuestionAnswering(config).save_pretrained(tmp_path)
    loaded = AutoModelForVisualQuestionAnswering.from_pretrained(tmp_path)
    assert loaded.config.id2label == names
    assert loaded(**tiny_batch()).logits.shape == (3, 3)


def test_checkpoint_without_a_part_of_the_tower_is_refused(tmp_path):
    model = MLMMModel(tiny_config())
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("encoder.layer.1.")}
    model.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(ValueError, match=r"lacks 16 weights of MLMMModel: encoder\.layer\.1\."):
        MLMMModel.from_pretrained(tmp_path)


def test_truncated_weights_are_refused(tmp_path):
    MLMMModel(tiny_config()).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(OSError, match="damaged"):
        MLMMModel.from_pretrained(tmp_path)
