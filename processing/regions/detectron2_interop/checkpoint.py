"""Checkpoints of detectron2 and its descendants for `RegionDetector`, whose weights have detectron2's names.

Converting is therefore leaving out what is not of a detector of boxes, three names of LXMERT's detector, and checks.
What changes the result without changing a shape (the stride in the 1x1 convolution, the scale of the pixels) comes from
the preset and the configuration alone. Source: spec of the region features, section 7.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ....modeling_region_detector.configuration_region_detector import RESNET_BLOCKS, RegionDetectorConfig
from ....modeling_region_detector.modeling_region_detector import RegionDetector
from ....modeling_region_detector.rpn import build_cell_anchors
from .config import PRESETS, R152, detector_fields
from .weights import list_misfits

PYRAMID = "backbone.bottom_up."
PREDICTOR = "roi_heads.box_predictor."
RENAMES = {"cls_embedding.": "cls_embed.", "fc_attr.": "attr_linear1.", "attr_score.": "attr_linear2."}
CELL_ANCHORS = re.compile(r"^proposal_generator\.anchor_generator\.cell_anchors\.(\d+)$")
UNUSED = {
    re.compile(r"\.num_batches_tracked$"): "batch counters",
    re.compile(r"^pixel_(mean|std)$"): "pixel mean and std",
    re.compile(r"^roi_heads\.mask_(head|pooler)\."): "mask head",
    re.compile(r"^roi_heads\.keypoint_(head|pooler)\."): "keypoint head",
    CELL_ANCHORS: "cell anchors",
}
FOREIGN = {
    re.compile(r"^(res\d_\d+_branch|conv1_w$|res_conv1)"): (
        "it has caffe2's names, as the ImageNet backbones and Detectron's own models: no detector of detectron2. "
        "Train a detector from it with detectron2, and convert that."
    ),
    re.compile(r"^(backbone\.body\.|rpn\.head\.|roi_heads\.box\.)"): (
        "it has the names of maskrcnn-benchmark, as VinVL's X152-C4 has: another network, which cannot be converted."
    ),
    re.compile(r"^backbone\.(res\d\.\d+\.norm\.|res4\.35\.)"): R152,
    re.compile(r"^roi_heads\.box_(head|predictor)\.0\."): "it has the three heads of a Cascade R-CNN; ours has one.",
    re.compile(r"^head\.(cls_score|bbox_pred|cls_subnet)"): "it is a RetinaNet, which has no regions to pool.",
}
ANCHOR_TOLERANCE = 1e-2  # pixels


@dataclass
class ConvertedDetector:
    """A checkpoint as ours.

    Attributes:
        config: of the detector.
        state: state dict of `RegionDetector`, complete and float32.
        dropped: how many entries of each kind were left out.
    """

    config: RegionDetectorConfig
    state: dict[str, Tensor]
    dropped: Counter[str] = field(default_factory=Counter)


def convert_detectron2_checkpoint(
    weights: Mapping[str, Tensor], preset: str, cfg: Mapping[str, Any] | None = None
) -> ConvertedDetector:
    """Return the configuration and the weights of a checkpoint under our names.

    Args:
        weights: of `read_detector_weights`.
        preset: "bua", "d2-c4", "d2-fpn" or "lxmert": what the checkpoint is.
        cfg: of `read_detectron2_yaml`; where it is silent, sizes are those of the weights, the rest is the preset's.

    Raises:
        ValueError: for a checkpoint of another network, settings that are not to be had here, and entries that are
            unknown, doubled, missing or of another shape: one message with a line for each.
    """
    _refuse_foreign_names(weights)
    if preset in PRESETS and _has_pyramid(weights) != (preset == "d2-fpn"):
        kind, other = ("a", "d2-fpn") if _has_pyramid(weights) else ("no", "d2-c4, bua or lxmert")
        raise ValueError(f"The checkpoint has {kind} feature pyramid, so it is not {preset!r}: use --preset {other}.")
    fields = sizes_of(weights) | detector_fields(preset, cfg or {})
    config = RegionDetectorConfig.from_variant(preset, fields)
    _use_cell_anchors(config, weights, trusted=preset == "bua")
    state, dropped, problems = _rename(weights)
    with torch.device("meta"):
        problems += list_misfits(state, RegionDetector(config).state_dict())
    if problems:
        raise ValueError("\n  ".join([f"the checkpoint does not fit the preset {preset!r}:", *problems]))
    return ConvertedDetector(config, {name: tensor.float() for name, tensor in state.items()}, dropped)


def _refuse_foreign_names(weights: Mapping[str, Tensor]) -> None:
    for pattern, reason in FOREIGN.items():
        if any(pattern.match(name) for name in weights):
            raise ValueError(f"This checkpoint cannot be used: {reason}")
    if not any(name.startswith(PREDICTOR) for name in weights):
        names = ", ".join([*weights][:5])
        raise ValueError(f"This is no checkpoint of a detector of detectron2: no {PREDICTOR}*; it begins with {names}.")


def _has_pyramid(weights: Mapping[str, Tensor]) -> bool:
    return any(name.startswith(PYRAMID) for name in weights)


def sizes_of(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the widths and counts that the shapes of a checkpoint tell, as fields of `RegionDetectorConfig`.

    Raises:
        ValueError: for a ResNet of unknown depth, or one with grouped convolutions.
    """
    body = PYRAMID if _has_pyramid(weights) else "backbone."
    blocks = {name.removeprefix(body).split(".")[1] for name in weights if name.startswith(f"{body}res4.")}
    depths = {counts[2]: depth for depth, counts in RESNET_BLOCKS.items()}
    if len(blocks) not in depths:
        raise ValueError(f"The backbone has {len(blocks)} blocks in res4; a ResNet-50 has 6 and a ResNet-101 has 23.")
    inner = weights.get(f"{body}res2.0.conv2.weight")
    if inner is not None and inner.shape[1] != inner.shape[0]:
        raise ValueError("The backbone has grouped convolutions (ResNeXt), which the native detector has not.")
    rows = {
        "stem_channels": f"{body}stem.conv1.weight",
        "bottleneck_channels": f"{body}res2.0.conv1.weight",
        "res2_channels": f"{body}res2.0.conv3.weight",
        "rpn_channels": "proposal_generator.rpn_head.conv.weight",
        "fpn_channels": "backbone.fpn_output2.weight",
        "fc_dim": "roi_heads.box_head.fc1.weight",
    }
    sizes: dict[str, Any] = {name: len(weights[key]) for name, key in rows.items() if key in weights}
    sizes |= {"depth": depths[len(blocks)], "num_attributes": 0}
    predictor = _rename(weights)[0]
    if (scores := predictor.get(f"{PREDICTOR}cls_score.weight")) is not None:
        sizes["num_objects"] = len(scores) - 1
    if (attributes := predictor.get(f"{PREDICTOR}attr_linear2.weight")) is not None:
        sizes |= {"num_attributes": len(attributes) - 1, "attribute_hidden_dim": attributes.shape[1]}
    if (embedding := predictor.get(f"{PREDICTOR}cls_embed.weight")) is not None:
        sizes["attribute_embedding_dim"] = embedding.shape[1]
    return sizes


def _use_cell_anchors(config: RegionDetectorConfig, weights: Mapping[str, Tensor], *, trusted: bool) -> None:
    """Take the anchors of a checkpoint for the configuration if trusted, else compare them."""
    found = {int(match[1]): weights[name].float() for name in weights if (match := CELL_ANCHORS.match(name))}
    levels = [found[index] for index in sorted(found)]
    if not levels:
        return
    if trusted:
        if any(level.ndim != 2 or level.shape[1] != 4 or not level.isfinite().all() for level in levels):
            raise ValueError("The cell anchors in the checkpoint are no boxes.")
        config.cell_anchors = [level.tolist() for level in levels]
        return
    computed = build_cell_anchors(config)
    same = [level.shape for level in levels] == [level.shape for level in computed] and all(
        torch.allclose(a, b, rtol=0, atol=ANCHOR_TOLERANCE) for a, b in zip(levels, computed, strict=True)
    )
    if not same:
        raise ValueError(
            f"The anchors in the checkpoint, of which the first is {levels[0][0].tolist()}, are not those of the "
            f"configuration, {computed[0][0].tolist()}: pass --config with its ANCHOR_GENERATOR, or another --preset."
        )


def _rename(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Counter[str], list[str]]:
    """Return the state under our names, what was dropped, and what is twice there."""
    state: dict[str, Tensor] = {}
    dropped: Counter[str] = Counter()
    problems = []
    for name, tensor in weights.items():
        if kind := next((kind for pattern, kind in UNUSED.items() if pattern.search(name)), None):
            dropped[kind] += 1
            continue
        ours = name
        for theirs, renamed in RENAMES.items():
            ours = ours.replace(PREDICTOR + theirs, PREDICTOR + renamed)
        if ours in state:
            problems.append(f"twice: {name}")
        state[ours] = tensor
    return state, dropped, problems


__all__ = ["ConvertedDetector", "convert_detectron2_checkpoint", "sizes_of"]
