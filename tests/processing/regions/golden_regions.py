"""Reads the golden tensors of the region detectors, and makes our models of them."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

FOLDER = Path(__file__).parents[2] / "fixtures" / "regions"


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
    from wenlan.processing.regions import RegionDetector, RegionDetectorConfig

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


def relative_difference(ours: torch.Tensor, golden: torch.Tensor) -> float:
    return float((ours - golden).abs().max() / golden.abs().max())
