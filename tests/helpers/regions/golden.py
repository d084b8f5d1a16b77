"""Reads the golden tensors of the region detectors, and makes our models of them."""

import json

import torch
from helpers.paths import FIXTURES
from safetensors.torch import load_file

FOLDER = FIXTURES / "regions"
# How near features (of the greatest one), boxes (pixels) and scores must come. Between versions of PyTorch the original
# itself moves by 5e-6 and 6e-4 px.
FEATURES, BOXES, SCORES = 1e-5, 3e-3, 1e-5


def read_tensors(case):
    return load_file(FOLDER / f"{case}.tensors.safetensors")


def read_weights(case):
    return load_file(FOLDER / f"{case}.weights.safetensors")


def read_config(case):
    return json.loads((FOLDER / f"{case}.config.json").read_text("utf-8"))


# What the golden runs changed of the published sizes.
SMALL = {"depth": 50, "stem_channels": 4, "bottleneck_channels": 4, "res2_channels": 16}
CHANGES = {
    "bua": {
        "rpn_channels": 32,
        "pre_nms_top_n": 200,
        "post_nms_top_n": 40,
        "num_objects": 8,
        "num_attributes": 5,
    },
    "d2_c4": {"pre_nms_top_n": 120, "post_nms_top_n": 40, "num_objects": 7, "rpn_batch_size": 4096},
    "d2_fpn": {
        "pre_nms_top_n": 120,
        "post_nms_top_n": 40,
        "num_objects": 7,
        "rpn_batch_size": 16384,
        "fpn_channels": 16,
        "fc_dim": 32,
    },
}


def golden_detector(case):
    """Returns the model with the golden weights, in evaluation mode."""
    from wenlan.modeling_region_detector import RegionDetector, RegionDetectorConfig

    weights = read_weights(case)
    changes = SMALL | CHANGES[case]
    if case == "bua":
        dims = {"attribute_embedding_dim": 1, "attribute_hidden_dim": 0}
        changes |= {
            name: weights["roi_heads.box_predictor.attr_linear1.weight"].shape[0] for name in dims if "hidden" in name
        }
        changes["attribute_embedding_dim"] = weights["roi_heads.box_predictor.cls_embed.weight"].shape[1]
    if case.startswith("d2"):
        changes |= {"pre_nms_top_n_train": 120, "post_nms_top_n_train": 40, "roi_batch_size": 512}
    model = RegionDetector(RegionDetectorConfig.from_variant(case.replace("_", "-"), changes))
    weights = {k: v for k, v in weights.items() if "cell_anchors" not in k and not k.endswith("num_batches_tracked")}
    model.load_state_dict(weights)
    return model.eval()


def golden_anchors(case, tensors):
    from wenlan.modeling_region_detector import RegionDetectorConfig
    from wenlan.modeling_region_detector.rpn import build_cell_anchors, grid_anchors

    config = RegionDetectorConfig.from_variant(case.replace("_", "-"))
    levels = build_cell_anchors(config)
    sizes = [tensors[f"rpn_logits.{level}"].shape[-2:] for level in range(len(levels))]
    strides = [16] if len(levels) == 1 else [4, 8, 16, 32, 64]
    return torch.cat([grid_anchors(a, h, w, s) for a, (h, w), s in zip(levels, sizes, strides, strict=True)])


def d2_inputs(case, golden):
    shape = golden["pixel_values_shape"].tolist()
    pixel_values, pixel_mask = torch.zeros(shape), torch.zeros(shape[0], *shape[2:], dtype=torch.long)
    scales = []
    for index in range(2):
        resized = golden[f"resized_bgr_u8.{index}"]
        height, width = resized.shape[1:]
        mean = torch.tensor([103.53, 116.28, 123.675])[:, None, None]
        pixel_values[index, :, :height, :width] = resized - mean
        pixel_mask[index, :height, :width] = 1
        original = golden[f"image_bgr_u8.{index}"].shape
        scales.append([height / original[0], width / original[1]])
    return {"pixel_values": pixel_values, "pixel_mask": pixel_mask, "image_scales": torch.tensor(scales)}


def relative_difference(ours: torch.Tensor, golden: torch.Tensor) -> float:
    return float((ours - golden).abs().max() / golden.abs().max())
