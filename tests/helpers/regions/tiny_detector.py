"""Detectors small enough for a test: each kind of backbone, head and convention."""

from typing import Any

import torch
from wenlan.modeling_region_detector import RegionDetector, RegionDetectorConfig

SMALL: dict[str, Any] = {
    "depth": 50,
    "stem_channels": 4,
    "bottleneck_channels": 4,
    "res2_channels": 16,
    "num_objects": 3,
}
FEW = {"pre_nms_top_n": 100, "post_nms_top_n": 20, "pre_nms_top_n_train": 100, "post_nms_top_n_train": 20}
ATTRIBUTES = {"num_attributes": 2, "attribute_embedding_dim": 4, "attribute_hidden_dim": 8}
TIMM = {
    "backbone": "tf_efficientnet_lite0",
    "timm_out_indices": [2, 3, 4],
    "frozen_backbone": ["conv_stem", "bn1", "blocks.0"],
    "fpn_channels": 8,
    "anchor_sizes": [[24], [48], [64]],
    "pooler_size": 3,
    "fc_dim": 16,
    "canonical_box_size": 64.0,
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "bua": ("bua", SMALL | FEW | ATTRIBUTES | {"rpn_channels": 8, "min_proposal_size": 4.0}),
    "d2-c4": ("d2-c4", SMALL | FEW | {"anchor_sizes": [[16, 32, 64]]}),
    "d2-fpn": ("d2-fpn", SMALL | FEW | {"fpn_channels": 8, "fc_dim": 16}),
    "timm": ("d2-fpn", FEW | ATTRIBUTES | TIMM | {"num_objects": 3}),
}


def tiny_detector(kind: str = "timm", **changes) -> RegionDetector:
    variant, values = KINDS[kind]
    torch.manual_seed(0)
    return RegionDetector(RegionDetectorConfig.from_variant(variant, values | changes)).eval()


def tiny_labels(with_attributes: bool = True) -> list[dict[str, torch.Tensor]]:
    """Labels of two images of 64 x 96 pixels; the second one is empty."""
    labels = [
        {"boxes": torch.tensor([[8.0, 8, 40, 44], [50, 20, 80, 60]]), "class_labels": torch.tensor([0, 2])},
        {"boxes": torch.zeros(0, 4), "class_labels": torch.zeros(0, dtype=torch.long)},
    ]
    if with_attributes:
        labels[0]["attributes"] = torch.tensor([[0, 1], [1, -1]])
        labels[1]["attributes"] = torch.zeros(0, 2, dtype=torch.long)
    return labels
