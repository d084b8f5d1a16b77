"""Defaults of MLMM's configuration, and what it refuses."""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError, StrictDataclassFieldValidationError
from wenlan.modeling_mlmm import MLMMConfig, MLMMModel


def test_defaults_are_xlm_r_base_with_regions_of_the_bottom_up_detector():
    config = MLMMConfig()
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (768, 12, 12)
    assert (config.vocab_size, config.max_position_embeddings, config.max_text_length) == (250002, 514, 512)
    assert (config.region_feature_dim, config.num_region_classes, config.region_box_dim) == (2048, 1601, 7)
    assert (config.layer_norm_eps, config.encoder_layer_norm_eps) == (1e-5, 1e-5)


def test_default_tower_has_the_parameters_of_xlm_r_base_and_two_million_for_the_regions():
    with torch.device("meta"):
        tower = MLMMModel(MLMMConfig())
    regions = sum(parameter.numel() for parameter in tower.region_embeddings.parameters())
    whole = sum(parameter.numel() for parameter in tower.parameters())
    one_more_token_type = 768
    assert regions == 2048 * 768 + 768 + 7 * 768 + 768 + 3 * 2 * 768 + 2048
    assert whole == 278_043_648 + regions + one_more_token_type


def test_number_of_answers_is_the_number_of_labels():
    assert MLMMConfig(num_labels=3129).num_answers == 3129
    assert MLMMConfig(id2label={0: "yes", 1: "no", 2: "2"}).num_answers == 3


def test_saved_configuration_comes_back(tmp_path):
    config = MLMMConfig(position_offset=0, mrc_reduction="batchmean", freeze_word_embeddings=True, num_labels=5)
    config.save_pretrained(tmp_path)
    assert MLMMConfig.from_pretrained(tmp_path).to_diff_dict() == config.to_diff_dict()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_attention_heads": 7}, "hidden_size=768 is not a multiple of num_attention_heads=7"),
        ({"position_offset": 514}, r"position_offset=514 is not in 0\.\.513"),
        ({"region_background_index": 1601}, "region_background_index=1601 is not among the 1601 classes"),
        ({"pooling": "max"}, "pooling must be 'cls' or 'mean', got 'max'"),
        ({"mrc_reduction": "sum"}, "mrc_reduction must be 'elementwise' or 'batchmean', got 'sum'"),
        ({"retrieval_loss": "triplet"}, "retrieval_loss must be 'margin' or 'itm', got 'triplet'"),
    ],
)
def test_values_that_cannot_work_are_refused(wrong, message):
    with pytest.raises(StrictDataclassClassValidationError) as error:
        MLMMConfig(**wrong)
    with pytest.raises(ValueError, match=message):
        raise error.value.__cause__


def test_value_of_another_type_is_refused():
    with pytest.raises(StrictDataclassFieldValidationError, match="region_feature_dim"):
        MLMMConfig(region_feature_dim="2048")
