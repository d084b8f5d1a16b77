"""A detector of ours as a configuration of detectron2; the weights have the same names there."""

from typing import Any

from ....modeling_region_detector.configuration_region_detector import RegionDetectorConfig
from ....modeling_region_detector.image_processing_region_detector import RegionImageProcessor
from .config import ONLY_WITH_PYRAMID, SAME

# What a detector must be for detectron2 to compute the same.
NEEDED = {
    "backbone": "resnet",
    "caffe_stem_pool": False,
    "objectness": "sigmoid",
    "anchor_style": "detectron2",
    "cell_anchors": None,
    "plus_one": False,
    "clip_before_top_k": False,
    "min_proposal_size": 0.0,
    "pooler": "roi_align",
    "canonical_box_size": 224.0,
    "background_first": False,
    "num_attributes": 0,
}
NEEDED_OF_RES5 = {"res5_stride": 2, "res5_dilation": 1}
NEEDED_OF_IMAGES = {"resize_style": "pillow", "do_resize": True, "do_normalize": True, "do_rescale": False}
STAGES = ("stem", "res2", "res3", "res4", "res5")


def to_detectron2(config: RegionDetectorConfig, image_processor: RegionImageProcessor) -> dict[str, Any]:
    """Return the sections of a detectron2 configuration that computes what our detector computes.

    Its weights are `model.state_dict()` as it is: `torch.save({"model": model.state_dict()}, "model.pth")`.

    Raises:
        ValueError: for a detector that is not detectron2's, such as caffe's; the message names every reason.
    """
    pyramid = config.fpn_channels is not None
    needed = NEEDED | ({} if pyramid else NEEDED_OF_RES5)
    problems = [f"{name} is {getattr(config, name)!r}" for name in needed if getattr(config, name) != needed[name]]
    problems += [
        f"{name} of the images is {getattr(image_processor, name)!r}"
        for name, value in NEEDED_OF_IMAGES.items()
        if getattr(image_processor, name) != value
    ]
    if problems:
        raise ValueError(f"detectron2 cannot compute what this detector does: {'; '.join(problems)}.")
    maps = ["res2", "res3", "res4", "res5"] if pyramid else ["res4"]
    pooled = ["p2", "p3", "p4", "p5"] if pyramid else maps
    frozen = [stage for stage in STAGES if stage in config.frozen_backbone]
    cfg: dict[str, Any] = {
        "VERSION": 2,
        "MODEL": {
            "META_ARCHITECTURE": "GeneralizedRCNN",
            "MASK_ON": False,
            "PIXEL_MEAN": list(image_processor.image_mean),
            "PIXEL_STD": list(image_processor.image_std),
            "BACKBONE": {
                "NAME": "build_resnet_fpn_backbone" if pyramid else "build_resnet_backbone",
                "FREEZE_AT": len(frozen),
            },
            "RESNETS": {"NORM": "FrozenBN", "OUT_FEATURES": maps},
            "FPN": {"IN_FEATURES": maps if pyramid else []},
            "ANCHOR_GENERATOR": {"ASPECT_RATIOS": [list(config.anchor_ratios)]},
            "PROPOSAL_GENERATOR": {},
            "RPN": {
                "IN_FEATURES": ["p2", "p3", "p4", "p5", "p6"][: config.num_levels] if pyramid else maps,
                "CONV_DIMS": [config.rpn_channels or -1],
            },
            "ROI_HEADS": {
                "NAME": "StandardROIHeads" if pyramid else "Res5ROIHeads",
                "IN_FEATURES": pooled,
                "IOU_THRESHOLDS": [config.roi_iou_threshold],
            },
            "ROI_BOX_HEAD": {"NAME": "FastRCNNConvFCHead" if pyramid else "", "POOLER_TYPE": "ROIAlignV2"},
        },
        "INPUT": {
            "FORMAT": "BGR" if image_processor.do_flip_channel_order else "RGB",
            "MIN_SIZE_TEST": image_processor.size["shortest_edge"],
            "MAX_SIZE_TEST": image_processor.size["longest_edge"],
        },
    }
    for name, path in SAME.items():
        if pyramid or name not in ONLY_WITH_PYRAMID:
            *sections, last = path.split(".")
            section = cfg
            for part in sections:
                section = section[part]
            value = getattr(config, name)
            section[last] = list(value) if isinstance(value, tuple) else value
    cfg["MODEL"]["PROPOSAL_GENERATOR"]["MIN_SIZE"] = 0  # an integer there
    return cfg


__all__ = ["to_detectron2"]
