import json

import pytest
from helpers.brivl.tiny import tiny_config
from huggingface_hub.errors import StrictDataclassClassValidationError, StrictDataclassFieldValidationError
from wenlan.modeling_brivl import BriVLConfig, BriVLTextConfig, BriVLVisionConfig

# The released grid checkpoint ("w/ RoBERTa-base"); original names in comments.
RELEASED_VISION = {
    "backbone": "tf_efficientnet_b5.ns_jft_in1k",  # CNN, in timm's present name
    "image_size": 456,  # IMG_SIZE
    "hidden_size": 2048,  # IMG_FEATURE_DIM
    "projection_dim": 2048,
    "max_regions": 37,  # MAX_IMG_LEN
    "region_samples": 4,  # GRID_SIZE
    "grid_scales": [6, 1],  # BOX_GRID, and the whole image
    "num_hidden_layers": 4,  # IMG_TRANSFORMER_LAYER
    "num_attention_heads": 4,  # IMG_TRANSFORMER_HEAD
    "intermediate_size": 2048,  # torch's default, whatever the width
    "hidden_dropout_prob": 0.1,
    "layer_norm_eps": 1e-5,
    "stretch_boxes": True,
    "train_batch_norm": True,
}
RELEASED_TEXT = {
    "projection_dim": 2048,
    "max_text_length": 80,  # MAX_TEXT_LEN
    "num_hidden_layers": 4,  # TEXT_TRANSFORMER_LAYER
    "num_attention_heads": 4,  # TEXT_TRANSFORMER_HEAD
    "intermediate_size": 2048,
    "attend_padding": True,
}
RELEASED_ENCODER = {
    "model_type": "bert",
    "vocab_size": 21128,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
}
RELEASED_OBJECTIVE = {"temperature": 0.07, "queue_size": 9600, "momentum": 0.99, "multi_positive_top_k": 0}


def values(config, expected):
    actual = {name: getattr(config, name) for name in expected}
    return actual | {"grid_scales": list(actual["grid_scales"])} if "grid_scales" in expected else actual


def test_defaults_of_the_image_tower_are_those_of_the_released_checkpoint():
    assert values(BriVLVisionConfig(), RELEASED_VISION) == RELEASED_VISION


def test_defaults_of_the_text_tower_are_those_of_the_released_checkpoint():
    config = BriVLTextConfig()
    assert values(config, RELEASED_TEXT) == RELEASED_TEXT
    assert values(config.encoder_config, RELEASED_ENCODER) == RELEASED_ENCODER


def test_defaults_of_the_objective_are_those_of_the_released_configuration():
    assert values(BriVLConfig(), RELEASED_OBJECTIVE) == RELEASED_OBJECTIVE
    assert BriVLConfig().in_batch_negatives is False


def test_variant_nmi_is_the_default():
    assert BriVLConfig.from_variant("nmi").to_dict() == BriVLConfig().to_dict() == BriVLConfig.from_variant().to_dict()


def test_variant_1_0_differs_by_image_size_and_whole_image_regions_only():
    variant, default = BriVLConfig.from_variant("1.0").to_dict(), BriVLConfig().to_dict()
    changed = {key for key, value in variant["vision_config"].items() if value != default["vision_config"][key]}
    assert changed == {"image_size", "grid_scales"}
    assert variant["vision_config"]["image_size"] == 380
    assert variant["vision_config"]["grid_scales"] == [1]
    assert {key for key in variant if variant[key] != default[key]} == {"vision_config"}


def test_variant_2_0_has_the_large_towers():
    config = BriVLConfig.from_variant("2.0")
    vision = {"backbone": "tf_efficientnet_b7.ns_jft_in1k", "image_size": 600, "hidden_size": 2560}
    encoder = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
    assert values(config.vision_config, vision) == vision
    assert values(config.text_config.encoder_config, encoder) == encoder
    assert config.projection_dim == config.text_config.projection_dim == 2560
    assert config.queue_size == 13440
    assert list(config.vision_config.grid_scales) == [6, 1]


def test_overrides_go_on_top_of_a_variant_and_keep_the_rest():
    config = BriVLConfig.from_variant("2.0", {"queue_size": 512, "vision_config": {"image_size": 96}})
    assert (config.queue_size, config.vision_config.image_size) == (512, 96)
    assert config.vision_config.hidden_size == 2560
    assert config.text_config.encoder_config.hidden_size == 1024


def test_overridden_encoder_replaces_that_of_the_variant_whole():
    encoder = {"model_type": "distilbert", "dim": 64, "n_heads": 4}
    config = BriVLConfig.from_variant("2.0", {"text_config": {"encoder_config": encoder}}).text_config.encoder_config
    assert config.model_type == "distilbert"
    assert config.hidden_size == 64
    assert config.n_layers == 6


def test_overrides_do_not_leak_into_the_next_configuration():
    BriVLConfig.from_variant("1.0", {"vision_config": {"hidden_size": 64}})
    assert BriVLConfig.from_variant("1.0").vision_config.hidden_size == 2048


def test_unknown_variant_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'3\.0'; known are nmi, 1\.0, 2\.0"):
        BriVLConfig.from_variant("3.0")


def test_unknown_keys_are_refused_together_with_the_nearest_known_ones():
    overrides = {
        "queue_length": 8,
        "vision_config": {"image_sizes": 8},
        "text_config": {"max_txt_length": 8, "zzzzzz": 8},
    }
    with pytest.raises(ValueError, match="Unknown configuration keys") as error:
        BriVLConfig.from_variant("nmi", overrides)
    message = str(error.value)
    assert "queue_length (did you mean queue_size?)" in message
    assert "vision_config.image_sizes (did you mean vision_config.image_size?)" in message
    assert "text_config.max_txt_length (did you mean text_config.max_text_length?)" in message
    assert "text_config.zzzzzz" in message


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: BriVLConfig(temperature=0.0), "temperature must be positive, got 0"),
        (lambda: BriVLConfig(queue_size=0), "queue_size must be at least 1, got 0"),
        (lambda: BriVLConfig(momentum=2.0), r"momentum must be in \[0, 1\], got 2"),
        (lambda: BriVLConfig(multi_positive_top_k=-1), "multi_positive_top_k must be in 0..queue_size, got -1"),
        (lambda: BriVLConfig(multi_positive_top_k=9, queue_size=8), "multi_positive_top_k must be in 0..queue_size"),
        (lambda: BriVLConfig(text_config={"projection_dim": 64}), "same projection_dim, got text 64 and vision 2048"),
        (lambda: BriVLVisionConfig(hidden_size=30), "width 30 is not a multiple of num_attention_heads=4"),
        (lambda: BriVLVisionConfig(grid_scales=[]), "grid_scales must be positive integers"),
        (lambda: BriVLVisionConfig(grid_scales=[6, 0]), "grid_scales must be positive integers"),
        (lambda: BriVLVisionConfig(image_size=0), "image_size must be at least 1 and at most"),
        (lambda: BriVLVisionConfig(region_samples=0), "region_samples must be at least 1 and at most"),
        (lambda: BriVLVisionConfig(max_regions=0), "max_regions must be at least 1 and at most"),
        (lambda: BriVLVisionConfig(projection_dim=0), "projection_dim must be positive, got 0"),
        (lambda: BriVLVisionConfig(hidden_dropout_prob=1.0), "hidden_dropout_prob must be in"),
        (lambda: BriVLTextConfig(num_attention_heads=5), "width 768 is not a multiple of num_attention_heads=5"),
        (lambda: BriVLTextConfig(max_text_length=513), r"max_text_length must be in 2\.\.512"),
        (lambda: BriVLTextConfig(max_text_length=1), r"max_text_length must be in 2\.\.512"),
    ],
)
def test_value_that_cannot_work_is_refused_at_construction(build, message):
    with pytest.raises(StrictDataclassClassValidationError, match=message):
        build()


@pytest.mark.parametrize(
    ("config", "values"),
    [
        (BriVLConfig, {"queue_size": "many"}),
        (BriVLConfig, {"temperature": "warm"}),
        (BriVLVisionConfig, {"image_size": 456.5}),
        (BriVLVisionConfig, {"trainable_backbone": "blocks.3"}),
        (BriVLTextConfig, {"attend_padding": "no"}),
    ],
)
def test_value_of_the_wrong_type_is_refused_with_the_name_of_the_field(config, values):
    with pytest.raises(StrictDataclassFieldValidationError, match=f"Validation error for field '{next(iter(values))}'"):
        config(**values)


def test_saved_and_loaded_configuration_is_the_same(tmp_path):
    config = tiny_config({"trainable_backbone": ["blocks.3"]}, {"max_text_length": 9}, momentum=0.5, temperature=0.1)
    config.save_pretrained(tmp_path)
    assert BriVLConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()


def test_file_names_the_model_and_holds_the_values(tmp_path):
    tiny_config(queue_size=17).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text("utf-8"))
    assert written["model_type"] == "brivl"
    assert written["queue_size"] == 17
    assert written["temperature"] == 0.07
    assert written["text_config"]["encoder_config"]["model_type"] == "bert"


@pytest.mark.parametrize("model_type", ["roberta", "electra", "xlm-roberta"])
def test_encoder_of_another_type_survives_saving(tmp_path, model_type):
    encoder = {"model_type": model_type, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2}
    tiny_config(text={"encoder_config": encoder}).save_pretrained(tmp_path)
    loaded = BriVLConfig.from_pretrained(tmp_path).text_config
    assert loaded.encoder_config.model_type == model_type
    assert loaded.encoder_config.num_hidden_layers == 3
    assert loaded.hidden_size == 24


@pytest.mark.parametrize("tower", ["text_config", "vision_config"])
def test_tower_opens_its_part_of_the_whole_configuration(tmp_path, tower):
    config = tiny_config({"image_size": 65}, {"max_text_length": 9})
    config.save_pretrained(tmp_path)
    part = getattr(config, tower)
    assert type(part).from_pretrained(tmp_path).to_dict() == part.to_dict()


def test_towers_of_the_default_configuration_are_not_shared():
    assert BriVLConfig().text_config is not BriVLConfig().text_config
