"""A configuration of detectron2, or of a descendant of it, as ours.

Not every setting of detectron2 exists here; one that would change the result is refused by name, never dropped.
"""

from collections.abc import Mapping
from typing import Any

from ....modeling_region_detector.configuration_region_detector import RESNET_BLOCKS

PRESETS = ("bua", "d2-c4", "d2-fpn", "lxmert")
# Fields that are the same number there; those of the pyramid and of the fc head only where they are used.
SAME = {
    "depth": "MODEL.RESNETS.DEPTH",
    "stem_channels": "MODEL.RESNETS.STEM_OUT_CHANNELS",
    "bottleneck_channels": "MODEL.RESNETS.WIDTH_PER_GROUP",
    "res2_channels": "MODEL.RESNETS.RES2_OUT_CHANNELS",
    "stride_in_1x1": "MODEL.RESNETS.STRIDE_IN_1X1",
    "pre_nms_top_n": "MODEL.RPN.PRE_NMS_TOPK_TEST",
    "post_nms_top_n": "MODEL.RPN.POST_NMS_TOPK_TEST",
    "pre_nms_top_n_train": "MODEL.RPN.PRE_NMS_TOPK_TRAIN",
    "post_nms_top_n_train": "MODEL.RPN.POST_NMS_TOPK_TRAIN",
    "rpn_nms_threshold": "MODEL.RPN.NMS_THRESH",
    "rpn_iou_thresholds": "MODEL.RPN.IOU_THRESHOLDS",
    "rpn_batch_size": "MODEL.RPN.BATCH_SIZE_PER_IMAGE",
    "rpn_positive_fraction": "MODEL.RPN.POSITIVE_FRACTION",
    "min_proposal_size": "MODEL.PROPOSAL_GENERATOR.MIN_SIZE",
    "anchor_sizes": "MODEL.ANCHOR_GENERATOR.SIZES",
    "selection_nms_threshold": "MODEL.ROI_HEADS.NMS_THRESH_TEST",
    "roi_batch_size": "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE",
    "roi_positive_fraction": "MODEL.ROI_HEADS.POSITIVE_FRACTION",
    "num_objects": "MODEL.ROI_HEADS.NUM_CLASSES",
    "box_weights": "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS",
    "pooler_size": "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION",
    "fpn_channels": "MODEL.FPN.OUT_CHANNELS",
    "fc_dim": "MODEL.ROI_BOX_HEAD.FC_DIM",
    "num_fc": "MODEL.ROI_BOX_HEAD.NUM_FC",
}
ONLY_WITH_PYRAMID = ("fpn_channels", "fc_dim", "num_fc")
# What the native detector can do, where detectron2 could do otherwise.
REQUIRED: dict[str, tuple[object, ...]] = {
    "MODEL.META_ARCHITECTURE": ("GeneralizedRCNN", "GeneralizedBUARCNN"),
    "MODEL.RESNETS.NUM_GROUPS": (1,),
    "MODEL.RESNETS.NORM": ("BN", "FrozenBN", "SyncBN", "nnSyncBN"),
    "MODEL.RESNETS.DEFORM_ON_PER_STAGE": ([False] * 4,),
    "MODEL.FPN.NORM": ("",),
    "MODEL.FPN.FUSE_TYPE": ("sum",),
    "MODEL.ANCHOR_GENERATOR.NAME": ("DefaultAnchorGenerator",),
    "MODEL.ANCHOR_GENERATOR.OFFSET": (0,),
    "MODEL.RPN.BBOX_REG_WEIGHTS": ([1] * 4,),
    "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": (False,),
    "MODEL.ROI_BOX_HEAD.NUM_CONV": (0,),
    "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE": (False,),
}
# Those that go with one preset.
OF_PRESET: dict[str, dict[str, tuple[object, ...]]] = {
    "bua": {
        "MODEL.BUA.CAFFE": (True,),
        "MODEL.ROI_HEADS.NAME": ("BUACaffeRes5ROIHeads",),
        "MODEL.ROI_BOX_HEAD.POOLER_TYPE": ("ROIPool",),
        "MODEL.RESNETS.RES5_DILATION": (2,),
    },
    "d2-c4": {
        "MODEL.PROPOSAL_GENERATOR.MIN_SIZE": (0,),
        "MODEL.ROI_HEADS.NAME": ("Res5ROIHeads",),
        "MODEL.ROI_BOX_HEAD.POOLER_TYPE": ("ROIAlignV2",),
        "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": (0,),
    },
    "d2-fpn": {
        "MODEL.PROPOSAL_GENERATOR.MIN_SIZE": (0,),
        "MODEL.ROI_HEADS.NAME": ("StandardROIHeads",),
        "MODEL.BACKBONE.NAME": ("build_resnet_fpn_backbone",),
        "MODEL.ROI_BOX_HEAD.POOLER_TYPE": ("ROIAlignV2",),
        "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": (0,),
        "MODEL.RESNETS.RES5_DILATION": (1,),
    },
    "lxmert": {
        "MODEL.PROPOSAL_GENERATOR.MIN_SIZE": (0,),
        "MODEL.ROI_HEADS.NAME": ("Res5ROIHeads",),
        "MODEL.ROI_BOX_HEAD.RES5HALVE": (False,),
        "MODEL.ROI_BOX_HEAD.POOLER_TYPE": ("ROIPool",),
        "MODEL.MAX_POOL": (True,),
        "MODEL.CAFFE_MAXPOOL": (True,),
    },
}
SECTIONS = ("RESNETS", "BACKBONE", "RPN", "PROPOSAL_GENERATOR", "ANCHOR_GENERATOR", "ROI_HEADS", "ROI_BOX_HEAD")
BUA_CHOICES = {1: "proposals", 2: "refined", 3: "proposals"}
R152 = (
    "The R-152 bottom-up attention is another network (pre-activation blocks, a further norm of the input, no "
    "dilation): it cannot be converted. Use the R-101 checkpoint of the same authors."
)


def setting(cfg: Mapping[str, Any], path: str, default: Any = None) -> Any:
    """Return the value at a dotted path of a configuration, or the default where it says nothing."""
    for name in path.split("."):
        if not isinstance(cfg, Mapping) or name not in cfg:
            return default
        cfg = cfg[name]
    return cfg


def detector_fields(preset: str, cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `RegionDetectorConfig` that a configuration states; the preset has the others.

    Args:
        preset: "bua", "d2-c4", "d2-fpn" or "lxmert".
        cfg: of `read_detectron2_yaml`; may be empty, except for "lxmert".

    Raises:
        ValueError: for an unknown preset and for settings that the native detector does not have: all in one message.
    """
    if preset not in PRESETS:
        raise ValueError(f"Unknown preset {preset!r}; there are {', '.join(PRESETS)}.")
    if preset == "lxmert" and not cfg:
        raise ValueError(
            "The preset lxmert needs --config: how images are resized and normalised, and the weights of the box "
            "regression, are only in the config.yaml beside the checkpoint."
        )
    try:
        return _read_fields(preset, _sections_in_model(cfg))
    except (TypeError, AttributeError, LookupError) as error:
        raise ValueError(f"a setting of the configuration has another form than in detectron2: {error!r}") from error


def _read_fields(preset: str, cfg: Mapping[str, Any]) -> dict[str, Any]:
    _refuse_what_is_not_here(preset, cfg)
    fields = {
        name: value
        for name, path in SAME.items()
        if (value := setting(cfg, path)) is not None and (preset == "d2-fpn" or name not in ONLY_WITH_PYRAMID)
    }
    if preset == "bua":  # there the background is counted, and so is "no attribute"
        fields |= {"num_objects": fields["num_objects"] - 1} if "num_objects" in fields else {}
        fields |= _bua_fields(setting(cfg, "MODEL.BUA", {}))
    if preset == "lxmert":
        fields |= _lxmert_fields(cfg)
    if (ratios := setting(cfg, "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS")) is not None:
        fields["anchor_ratios"] = ratios[0]
    if (thresholds := setting(cfg, "MODEL.ROI_HEADS.IOU_THRESHOLDS")) is not None:
        fields["roi_iou_threshold"] = thresholds[0]
    if (freeze_at := setting(cfg, "MODEL.BACKBONE.FREEZE_AT")) is not None:
        fields["frozen_backbone"] = ["stem", "res2", "res3", "res4", "res5"][:freeze_at]
    if isinstance(fields.get("selection_nms_threshold"), list):  # descendants try several in turn
        fields["selection_nms_threshold"] = fields["selection_nms_threshold"][0]
    for name in ("min_proposal_size", "selection_nms_threshold", "rpn_nms_threshold"):
        fields |= {name: float(fields[name])} if name in fields else {}
    return fields


def _sections_in_model(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with the sections that the port of LXMERT has at the top where detectron2 has them."""
    model = dict(cfg.get("MODEL", {})) | {name: cfg[name] for name in SECTIONS if name in cfg}
    return {**cfg, "MODEL": model}


def _refuse_what_is_not_here(preset: str, cfg: Mapping[str, Any]) -> None:
    depth = setting(cfg, "MODEL.RESNETS.DEPTH", 101)
    if setting(cfg, "MODEL.BUA.RESNET_VERSION", 1) != 1 or (preset == "bua" and depth == 152):
        raise ValueError(R152)
    problems = [
        f"{path} is {value!r}, not {' or '.join(map(repr, allowed))}"
        for path, allowed in (REQUIRED | OF_PRESET[preset]).items()
        if (value := setting(cfg, path)) is not None and value not in allowed
    ]
    if depth not in RESNET_BLOCKS:
        problems.append(f"MODEL.RESNETS.DEPTH is {depth}, not {' or '.join(map(str, RESNET_BLOCKS))}")
    widths = setting(cfg, "MODEL.RPN.CONV_DIMS", [-1])
    ratios = setting(cfg, "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", [[]])
    if len(widths) != 1:
        problems.append(f"MODEL.RPN.CONV_DIMS is {widths}, not one convolution")
    if any(level != ratios[0] for level in ratios):
        problems.append("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS differ from level to level")
    if problems:
        raise ValueError(
            "\n  ".join([f"the configuration is not one of the preset {preset!r}, or cannot run natively:", *problems])
        )


def _bua_fields(bua: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if (width := setting(bua, "RPN.CONV_OUT_CHANNELS")) is not None:
        fields["rpn_channels"] = width
    if not bua.get("ATTRIBUTE_ON", True):
        fields["num_attributes"] = 0
    elif (count := setting(bua, "ATTRIBUTE.NUM_CLASSES")) is not None:
        fields["num_attributes"] = count - 1
    if (mode := setting(bua, "EXTRACTOR.MODE")) is not None:
        fields["region_boxes"] = BUA_CHOICES[mode]
    return fields


def _lxmert_fields(cfg: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    names = ("HIDDEN_CHANNELS", "HID_CHANNELS")
    widths = [setting(cfg, f"MODEL.PROPOSAL_GENERATOR.{name}", -1) for name in names]
    if max(widths) > 0:
        fields["rpn_channels"] = max(widths)
    if setting(cfg, "MODEL.ROI_BOX_HEAD.ATTR") is False:
        fields["num_attributes"] = 0
    elif (count := setting(cfg, "MODEL.ROI_BOX_HEAD.NUM_ATTRS", -1)) > 0:
        fields["num_attributes"] = count
    return fields


def image_changes(preset: str, cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a configuration changes of the image preparation `RegionImageProcessor.from_variant(preset)`.

    The original of "bua" extracts at 600 / 1000 pixels and with its own mean whatever its configuration says.
    """
    if preset == "bua":
        return {}
    changes: dict[str, Any] = {}
    sides = {"shortest_edge": "INPUT.MIN_SIZE_TEST", "longest_edge": "INPUT.MAX_SIZE_TEST"}
    size = {name: setting(cfg, path) for name, path in sides.items()}
    if None not in size.values():
        changes["size"] = size
    for name, path in {"image_mean": "MODEL.PIXEL_MEAN", "image_std": "MODEL.PIXEL_STD"}.items():
        if (value := setting(cfg, path)) is not None:
            changes[name] = [float(number) for number in value]
    if (order := setting(cfg, "INPUT.FORMAT")) is not None:
        changes["do_flip_channel_order"] = order == "BGR"
    if (threshold := setting(_sections_in_model(cfg), "MODEL.ROI_HEADS.NMS_THRESH_TEST")) is not None:
        changes["nms_threshold"] = float(threshold[0] if isinstance(threshold, list) else threshold)
    return changes


__all__ = ["PRESETS", "R152", "detector_fields", "image_changes", "setting"]
