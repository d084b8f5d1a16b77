"""Names and shapes of original checkpoints; the weights themselves are compared in test_golden_values."""

import pytest
import torch
from helpers.mlmm.golden import Golden
from wenlan.modeling_mlmm import (
    MLMMForImageTextRetrieval,
    MLMMForPreTraining,
    MLMMForVisualQuestionAnswering,
    MLMMModel,
    config_of_original,
    load_original_checkpoint,
)

UC2, UNITER = Golden("uc2_tiny"), Golden("uniter_tiny")


def load(model_class, checkpoint, golden=UC2):
    model = model_class(golden.config())
    return model, load_original_checkpoint(model, checkpoint)


def message(checkpoint, model_class=MLMMForPreTraining, golden=UC2):
    with pytest.raises(ValueError, match=r".") as error:
        load(model_class, checkpoint, golden)
    return str(error.value)


def same_weights(first, second):
    second = second.state_dict()
    return all(torch.equal(tensor, second[name]) for name, tensor in first.state_dict().items())


@pytest.mark.parametrize("golden", [UC2, UNITER], ids=["uc2", "uniter"])
def test_every_weight_of_a_pretraining_file_finds_its_place(golden):
    _, report = load(MLMMForPreTraining, golden.checkpoint("pretrain"), golden)
    assert report.family == golden.meta["family"]
    assert (report.new, report.unused, report.unknown) == ([], [], [])


def test_weights_of_another_start_do_not_survive_the_loading():
    torch.manual_seed(1)
    first, _ = load(MLMMForPreTraining, UC2.checkpoint("pretrain"))
    torch.manual_seed(2)
    second, _ = load(MLMMForPreTraining, UC2.checkpoint("pretrain"))
    assert same_weights(first, second)


@pytest.mark.parametrize(
    "rename",
    [
        lambda key: f"module.{key}",
        lambda key: key.replace("uniter.", "bert."),
        lambda key: key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"),
    ],
    ids=["several GPUs", "older prefix", "older norms"],
)
def test_older_names_give_the_same_weights(rename):
    checkpoint = UNITER.checkpoint("pretrain")
    expected, _ = load(MLMMForPreTraining, checkpoint, UNITER)
    actual, report = load(MLMMForPreTraining, {rename(key): tensor for key, tensor in checkpoint.items()}, UNITER)
    assert report.new == report.unknown == []
    assert same_weights(expected, actual)


def test_half_precision_becomes_the_precision_of_the_model():
    half = {key: tensor.half() for key, tensor in UC2.checkpoint("pretrain").items()}
    model, _ = load(MLMMForPreTraining, half)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert torch.equal(model.itm_head.weight, half["itm_output.weight"].float())


def test_heads_that_the_model_lacks_are_named_by_their_keys():
    _, report = load(MLMMModel, UC2.checkpoint("pretrain", "vqa"))
    heads = {key.split(".")[0] for key in report.unused}
    assert heads == {"cls", "feat_regress", "region_classifier", "itm_output", "vqa_output"}
    assert report.new == []


def test_fine_tuned_heads_load():
    model, report = load(MLMMForVisualQuestionAnswering, UC2.checkpoint("pretrain", "vqa"))
    assert report.new == []
    assert torch.equal(model.vqa_head.classifier.weight, UC2.checkpoint("vqa")["vqa_output.3.weight"])
    model, report = load(MLMMForImageTextRetrieval, UC2.checkpoint("pretrain", "retrieval"))
    assert report.new == []
    assert torch.equal(model.rank_head.weight, UC2.checkpoint("retrieval")["rank_output.weight"])


def test_head_that_the_checkpoint_lacks_is_new_and_stays_as_it_was():
    model, report = load(MLMMForVisualQuestionAnswering, UC2.checkpoint("pretrain"))
    assert {name.split(".")[0] for name in report.new} == {"vqa_head"}
    assert model.vqa_head.classifier.bias.abs().max() == 0


def test_label_words_of_uc2_are_dropped_without_a_word():
    checkpoint = UC2.checkpoint("pretrain")
    assert any(key.startswith("vis_cls.") for key in checkpoint)
    _, report = load(MLMMForPreTraining, checkpoint)
    assert report.unknown == report.unused == []


def test_key_of_no_part_is_named():
    _, report = load(MLMMForPreTraining, {**UC2.checkpoint("pretrain"), "ot_head.weight": torch.zeros(2)})
    assert report.unknown == ["ot_head.weight"]


def test_other_shapes_are_refused_all_at_once():
    checkpoint = UC2.checkpoint("pretrain")
    checkpoint["itm_output.bias"] = torch.zeros(3)
    checkpoint["roberta.pooler.dense.bias"] = torch.zeros(5)
    text = message(checkpoint)
    assert "shape: itm_head.bias is (3,), the model has (2,)" in text
    assert "shape: mlmm.pooler.dense.bias is (5,), the model has (64,)" in text


def test_missing_part_of_the_tower_is_refused():
    checkpoint = UC2.checkpoint("pretrain")
    del checkpoint["roberta.encoder.layer.1.output.dense.bias"], checkpoint["roberta.img_embeddings.pos_linear.weight"]
    text = message(checkpoint)
    assert "missing: mlmm.encoder.layer.1.output.dense.bias" in text
    assert "missing: mlmm.region_embeddings.box_projection.weight" in text


def test_more_layers_than_the_model_has_are_refused():
    checkpoint = UC2.checkpoint("pretrain")
    checkpoint["roberta.encoder.layer.2.output.dense.bias"] = torch.zeros(64)
    assert "not in the model: mlmm.encoder.layer.2.output.dense.bias (64,)" in message(checkpoint)


def test_untied_copy_is_refused():
    checkpoint = UC2.checkpoint("pretrain")
    checkpoint["feat_regress.weight"] = checkpoint["feat_regress.weight"] + 1
    assert "not tied: feat_regress.weight differs from region_embeddings.feature_projection.weight" in message(
        checkpoint
    )


def test_two_biases_of_one_head_must_be_equal():
    checkpoint = UC2.checkpoint("pretrain")
    checkpoint["cls.bias"] = checkpoint["cls.bias"] + 1
    assert "twice, and not equal" in message(checkpoint)


def test_nothing_is_loaded_when_something_is_wrong():
    checkpoint = UC2.checkpoint("pretrain")
    checkpoint["itm_output.bias"] = torch.zeros(3)
    model = MLMMForPreTraining(UC2.config())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"shape: itm_head"):
        load_original_checkpoint(model, checkpoint)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_checkpoint_of_something_else_is_refused_with_its_first_keys():
    text = message({"learnable.imgencoder.fc.weight": torch.zeros(2)})
    assert "no checkpoint of UC2, UNITER or XLM-R" in text
    assert "learnable.imgencoder.fc.weight" in text


def test_entry_that_is_no_tensor_is_named():
    assert "no tensor: epoch" in message({**UC2.checkpoint("pretrain"), "epoch": 3})


def test_configuration_has_the_sizes_of_the_weights():
    config = config_of_original(UC2.checkpoint("pretrain", "vqa"), num_attention_heads=4)
    theirs = UC2.meta["config"]
    for name in ("hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size", "max_position_embeddings"):
        assert getattr(config, name) == theirs[name]
    assert (config.region_feature_dim, config.num_region_classes, config.num_answers) == (128, 41, 37)
    assert (config.layer_norm_eps, config.encoder_layer_norm_eps) == (1e-5, 1e-12)
    assert (config.pad_token_id, config.position_offset) == (1, 2)


def test_configuration_of_uniter_counts_from_zero_with_small_epsilons():
    config = config_of_original(UNITER.checkpoint("pretrain"))
    assert (config.layer_norm_eps, config.encoder_layer_norm_eps) == (1e-12, 1e-12)
    assert (config.pad_token_id, config.position_offset) == (0, 0)
    assert config.num_attention_heads == 1


@pytest.mark.parametrize("key", ["feat_regress.weight", "cls.bias", "cls.predictions.decoder.weight"])
def test_copy_that_differs_a_little_is_reported_with_its_distance(key):
    checkpoint = UC2.checkpoint("pretrain")
    key = key if key in checkpoint else next(name for name in checkpoint if name.endswith("decoder.weight"))
    expected, _ = load(MLMMForPreTraining, checkpoint)
    checkpoint[key] = checkpoint[key] + 5e-4
    model, report = load(MLMMForPreTraining, checkpoint)
    assert len(report.untied) == 1
    assert next(iter(report.untied.values())) == pytest.approx(5e-4, rel=0.01)
    assert same_weights(expected, model) or key == "cls.bias"


@pytest.mark.parametrize("distance", [2e-3, float("nan"), float("inf")])
def test_copy_that_differs_much_is_refused_with_its_distance(distance):
    checkpoint = UC2.checkpoint("pretrain")
    checkpoint["feat_regress.weight"] = checkpoint["feat_regress.weight"] + distance
    assert f"region_embeddings.feature_projection.weight by {distance:.1e}" in message(checkpoint)


def test_copy_of_half_precision_is_near_enough():
    checkpoint = UC2.checkpoint("pretrain")
    checkpoint["feat_regress.weight"] = checkpoint["feat_regress.weight"].half()
    _, report = load(MLMMForPreTraining, checkpoint)
    assert 0 < report.untied["feat_regress.weight"] < 1e-3


def test_layer_that_is_missing_below_another_is_named():
    checkpoint = UC2.checkpoint("pretrain")
    lower = [name for name in checkpoint if ".encoder.layer.0.output." in name]
    for name in lower:
        del checkpoint[name]
    model = MLMMForPreTraining(config_of_original(checkpoint, num_attention_heads=4))
    with pytest.raises(ValueError, match=r"missing: mlmm\.encoder\.layer\.0\.output\.dense\.bias"):
        load_original_checkpoint(model, checkpoint)
