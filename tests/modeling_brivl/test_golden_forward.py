"""The towers reproduce the features that the original classes computed, in float32."""

import pytest
import torch
from helpers.brivl.golden import our_config, read_golden, tower_state
from torch.nn import functional as F
from wenlan.modeling_brivl import BriVLTextModel, BriVLVisionModel
from wenlan.modeling_brivl.region_pooling import grid_boxes, pool_regions

# the golden README's tolerance for features; its own port reached 3e-7
TOLERANCE = {"atol": 1e-5, "rtol": 0}


def assert_close(actual, expected):
    torch.testing.assert_close(actual, expected, **TOLERANCE)


@pytest.fixture(scope="module")
def weights():
    return read_golden("boxes")[0]


def towers(meta, weights, suffix=""):
    config = our_config(meta)
    vision_model, text_model = BriVLVisionModel(config.vision_config), BriVLTextModel(config.text_config)
    vision_model.load_state_dict(tower_state(weights, f"ckpt.learnable.imgencoder{suffix}."))
    text_model.load_state_dict(tower_state(weights, f"ckpt.learnable.textencoder{suffix}."))
    return vision_model.eval(), text_model.eval()


@pytest.mark.parametrize("case", ["boxes", "grid"])
def test_image_tower_gives_the_original_features_for_given_boxes(case, weights):
    tensors, meta = read_golden(case)
    vision_model, _ = towers(meta, weights)
    mask = tensors["io.box_mask"]
    with torch.no_grad():
        output = vision_model(tensors["io.pixel_values"], tensors["io.boxes"], mask)
    real = mask.bool()
    assert_close(output.last_hidden_state[real], tensors["io.image_att"][real])
    assert_close(output.pooler_output, tensors["io.image_proj"])
    assert_close(F.normalize(output.pooler_output, dim=-1), tensors["io.image_features"])


def test_grid_of_the_config_gives_the_original_features_without_boxes(weights):
    tensors, meta = read_golden("grid")
    vision_model, _ = towers(meta, weights)
    assert_close(grid_boxes(104, (6, 1)), tensors["io.boxes"][0].float())
    with torch.no_grad():
        features = vision_model(tensors["io.pixel_values"]).pooler_output
    assert_close(features, tensors["io.image_proj"])


def test_pooled_regions_equal_the_original_samples_after_its_convolution(weights):
    tensors, meta = read_golden("boxes")
    vision_model, _ = towers(meta, weights)
    regions = pool_regions(tensors["io.feature_map"], tensors["io.boxes"], image_size=104)
    assert_close(regions, tensors["io.roi_sampled"].mean(dim=(3, 4)))
    assert_close(vision_model.region_projection(regions), tensors["io.roi_pooled"])


def test_cached_feature_map_gives_the_same_features_as_pixels(weights):
    tensors, meta = read_golden("boxes")
    vision_model, _ = towers(meta, weights)
    boxes, mask = tensors["io.boxes"], tensors["io.box_mask"]
    with torch.no_grad():
        features = vision_model(feature_map=tensors["io.feature_map"], boxes=boxes, box_mask=mask).pooler_output
    assert_close(features, tensors["io.image_proj"])


@pytest.mark.parametrize("case", ["boxes", "grid"])
def test_text_tower_gives_the_original_features(case, weights):
    tensors, meta = read_golden(case)
    meta["model"]["MAX_TEXT_LEN"] = tensors["io.input_ids"].shape[1]  # what the example was padded to
    _, text_model = towers(meta, weights)
    with torch.no_grad():
        output = text_model(tensors["io.input_ids"], tensors["io.token_mask"])
    real = tensors["io.token_mask"].bool()
    assert_close(output.last_hidden_state[real], tensors["io.text_att"][real])
    assert_close(output.pooler_output, tensors["io.text_proj"])
    assert_close(F.normalize(output.pooler_output, dim=-1), tensors["io.text_features"])


def test_original_text_embedding_depends_on_the_padded_length(weights):
    tensors, meta = read_golden("boxes")
    meta["model"]["MAX_TEXT_LEN"] = 24
    _, text_model = towers(meta, weights)
    ids = tensors["io.input_ids_pad24"]
    mask = torch.arange(24) < tensors["io.text_lens"][:, None]
    with torch.no_grad():
        features = F.normalize(text_model(ids, mask).pooler_output, dim=-1)
    assert_close(features, tensors["io.text_features_pad24"])
    assert (features - tensors["io.text_features"]).abs().max() > 0.1


def test_text_embedding_ignores_padding_when_the_encoder_gets_the_mask(weights):
    tensors, meta = read_golden("boxes")
    meta["model"]["MAX_TEXT_LEN"] = 24
    _, text_model = towers(meta, weights)
    text_model.config.attend_padding = False
    lens = tensors["io.text_lens"][:, None]
    with torch.no_grad():
        short = text_model(tensors["io.input_ids"], torch.arange(16) < lens).pooler_output
        long = text_model(tensors["io.input_ids_pad24"], torch.arange(24) < lens).pooler_output
    torch.testing.assert_close(long, short, atol=1e-6, rtol=0)


def test_momentum_towers_give_the_original_key_features(weights):
    tensors, meta = read_golden("boxes")
    vision_model, text_model = towers(meta, weights, suffix="_mom")
    with torch.no_grad():
        image = vision_model(tensors["io.pixel_values"], tensors["io.boxes"], tensors["io.box_mask"]).pooler_output
        text = text_model(tensors["io.input_ids"], tensors["io.token_mask"]).pooler_output
    assert_close(F.normalize(image, dim=-1), tensors["io.momentum_image_features"])
    assert_close(F.normalize(text, dim=-1), tensors["io.momentum_text_features"])
