"""Configuration of the region detector: one Faster R-CNN, of which the known checkpoints are values, never subclasses.

*anchor*: a box tried at every cell of a feature map; *proposal*: a box of the region proposal network (RPN), of no
class yet; *region*: a chosen box with its features; *plus one*: the convention by which a box from x1 to x2 is
x2 - x1 + 1 pixels wide.
"""

import difflib
import re
from collections.abc import Iterator
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

# What differs from the defaults, which are those of "bua": caffe's bottom-up attention on Visual Genome.
REGION_DETECTOR_VARIANTS: dict[str, dict[str, Any]] = {
    "bua": {},
    "d2-c4": {
        "caffe_stem_pool": False,
        "res5_stride": 2,
        "res5_dilation": 1,
        "rpn_channels": None,
        "objectness": "sigmoid",
        "anchor_style": "detectron2",
        "anchor_sizes": [[32, 64, 128, 256, 512]],
        "plus_one": False,
        "min_proposal_size": 0.0,
        "clip_before_top_k": False,
        "post_nms_top_n": 1000,
        "pooler": "roi_align",
        "box_weights": [10.0, 10.0, 5.0, 5.0],
        "background_first": False,
        "num_attributes": 0,
        "region_boxes": "detections",
        "selection_nms_threshold": 0.5,
        "num_objects": 80,
    },
    "lxmert": {
        "objectness": "sigmoid",
        "anchor_style": "detectron2",
        "anchor_sizes": [[64, 128, 256, 512]],
        "plus_one": False,
        "min_proposal_size": 0.0,
        "clip_before_top_k": False,
        "box_weights": [10.0, 10.0, 5.0, 5.0],
        "background_first": False,
        "region_boxes": "refined_agnostic",
        "selection_nms_threshold": 0.5,
        "num_objects": 1600,
    },
}
REGION_DETECTOR_VARIANTS["d2-fpn"] = REGION_DETECTOR_VARIANTS["d2-c4"] | {
    "fpn_channels": 256,
    "anchor_sizes": [[32], [64], [128], [256], [512]],
    "pre_nms_top_n": 1000,
    "pre_nms_top_n_train": 2000,
    "post_nms_top_n_train": 1000,
    "pooler_size": 7,
    "head": "fc",
}
RESNET_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
DEFAULT_OBJECTS = 1600  # of Visual Genome, as all bottom-up attention has them
MAX_SIZE = 2**24  # of any number of a configuration: a file from anywhere may ask for 10**12 of something
MAX_ANCHORS = 1000  # of a cell
TIMM_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)?")  # timm takes a file, a folder or a repository as a name, too
REGION_BOXES = ("proposals", "refined", "detections", "refined_agnostic")


def find_variant(variant: str, variants: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what a known detector changes of the defaults.

    Raises:
        ValueError: for an unknown variant; the message names the known ones and the nearest.
    """
    if variant not in variants:
        nearest = difflib.get_close_matches(variant, variants, n=1)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise ValueError(f"Unknown detector {variant!r}; there are {', '.join(sorted(variants))}.{hint}")
    return variants[variant]


def _numbers(value: object) -> Iterator[int | float]:
    """Yield a number, or those in nested lists."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float):
        yield value


@strict
class RegionDetectorConfig(PreTrainedConfig):
    r"""A Faster R-CNN whose regions feed MLMM and BriVL 1.0.

    Args:
        backbone: "resnet" (ResNet in detectron2's names) or the name of a timm model with feature maps.
        depth: blocks of the ResNet, 50 or 101.
        stem_channels, bottleneck_channels, res2_channels: widths of the ResNet; the latter two double a stage.
        caffe_stem_pool: max-pool of the stem without padding, in ceil mode; else padding 1.
        stride_in_1x1: the stride of a block is in its first 1x1 convolution (MSRA weights); else in its 3x3.
        timm_out_indices: which feature maps of the timm model are used, fine to coarse. Without a pyramid the last one.
        frozen_backbone: modules of the backbone that never train, such as ["stem", "res2"] or, of a timm model,
            ["conv_stem", "bn1", "blocks.0"].
        fpn_channels: width of the feature pyramid; None takes the last feature map alone (C4).
        head: "res5" (the last ResNet stage on every pooled box) or "fc" (fully connected layers).
        res5_stride, res5_dilation: of the res5 head.
        fc_dim, num_fc: of the fc head.
        rpn_channels: width of the RPN's 3x3 convolution; None takes the width of the feature map.
        objectness: "softmax" (2 channels an anchor, all backgrounds first) or "sigmoid" (1 channel).
        anchor_style: "caffe" (rounded table, ratios outside, scales of 16 px inside) or "detectron2" (sizes in px).
        anchor_sizes: one list a level: scales for "caffe", pixels for "detectron2".
        anchor_ratios: height / width.
        cell_anchors: explicit boxes (x1, y1, x2, y2), one list a level, in place of style, sizes and ratios.
        plus_one: widths of boxes count the last pixel (caffe).
        min_proposal_size: proposals must be larger, in pixels of the original image a side.
        clip_before_top_k: clip and filter all boxes of the RPN before the best are taken (caffe); else after.
        pre_nms_top_n, post_nms_top_n, pre_nms_top_n_train, post_nms_top_n_train: proposals, a level and an image.
        rpn_nms_threshold: overlap from which the worse of two proposals goes.
        pooler, pooler_size: "roi_pool" or "roi_align" (aligned), to so many cells a side.
        canonical_box_size: side in pixels of a box that a pyramid pools from its level of stride 16.
        box_weights: multipliers of the box regression of the head (dx, dy, dw, dh).
        background_first: background is class 0 of the head, and "no attribute" is attribute 0; else both are last.
            Boxes are regressed for the background too if it is first.
        num_objects: classes without the background: another name of `num_labels`, so the length of `id2label`.
        num_attributes: attributes without "no attribute"; 0 builds no attribute head.
        attribute_names: one an attribute.
        attribute_embedding_dim, attribute_hidden_dim: of the attribute head.
        region_boxes: how regions are chosen. "proposals": unrefined boxes kept by their best class
            (MLMM); "refined": the refined box of the best class (BriVL 1.0); "detections": refined boxes a class;
            "refined_agnostic": refined boxes, one NMS for all classes (LXMERT).
        selection_nms_threshold: overlap of that choice, and of `post_process_object_detection`.
        rpn_iou_thresholds, rpn_batch_size, rpn_positive_fraction: how anchors are labelled and sampled.
        roi_iou_threshold, roi_batch_size, roi_positive_fraction: the same for proposals.
        attribute_loss_weight, max_attributes: of the attribute loss.
        norm_eps: of the batch norms of the ResNet, which always use their stored statistics.

    Example:

    ```python
    >>> from wenlan.modeling_region_detector import RegionDetectorConfig
    >>> RegionDetectorConfig.from_variant("d2-fpn", {"depth": 50}).num_levels
    5

    ```

    Source: spec of the region features, sections 1, 3-5 and 9.
    """

    model_type = "wenlan_region_detector"
    attribute_map = {"num_objects": "num_labels"}

    backbone: str = "resnet"
    depth: int = 101
    stem_channels: int = 64
    bottleneck_channels: int = 64
    res2_channels: int = 256
    caffe_stem_pool: bool = True
    stride_in_1x1: bool = True
    timm_out_indices: list[int] | tuple[int, ...] | None = None
    frozen_backbone: list[str] | tuple[str, ...] = ("stem", "res2")
    fpn_channels: int | None = None
    head: str = "res5"
    res5_stride: int = 1
    res5_dilation: int = 2
    fc_dim: int = 1024
    num_fc: int = 2
    rpn_channels: int | None = 512
    objectness: str = "softmax"
    anchor_style: str = "caffe"
    anchor_sizes: list | tuple = ((4, 8, 16, 32),)
    anchor_ratios: list | tuple = (0.5, 1.0, 2.0)
    cell_anchors: list | None = None
    plus_one: bool = True
    min_proposal_size: float | int = 16.0
    clip_before_top_k: bool = True
    pre_nms_top_n: int = 6000
    post_nms_top_n: int = 300
    pre_nms_top_n_train: int = 12000
    post_nms_top_n_train: int = 2000
    rpn_nms_threshold: float | int = 0.7
    pooler: str = "roi_pool"
    pooler_size: int = 14
    canonical_box_size: float | int = 224.0
    box_weights: list | tuple = (1.0, 1.0, 1.0, 1.0)
    background_first: bool = True
    num_attributes: int = 400
    attribute_names: list[str] | None = None
    attribute_embedding_dim: int = 256
    attribute_hidden_dim: int = 512
    region_boxes: str = "proposals"
    selection_nms_threshold: float | int = 0.3
    rpn_iou_thresholds: list | tuple = (0.3, 0.7)
    rpn_batch_size: int = 256
    rpn_positive_fraction: float | int = 0.5
    roi_iou_threshold: float | int = 0.5
    roi_batch_size: int = 512
    roi_positive_fraction: float | int = 0.25
    attribute_loss_weight: float | int = 0.2
    max_attributes: int = 16
    norm_eps: float | int = 1e-5
    initializer_range: float | int = 0.01

    def __post_init__(self, **kwargs: Any) -> None:
        for name, value in (vars(self) | kwargs).items():
            if not all(abs(number) < MAX_SIZE for number in _numbers(value)):  # nor NaN
                raise ValueError(f"{name} is {str(value)[:40]}, which is no size that a detector can have.")
            if name.endswith("_implementation") and not str(value).isidentifier():  # else compiled code of a repository
                raise ValueError(f"{name} is {str(value)[:40]!r}; give sdpa or eager.")
        count = kwargs.pop("num_objects", None)
        for name, number in (("num_objects", count), ("num_labels", kwargs.get("num_labels"))):
            if number is not None and (type(number) is not int or number < 0):
                raise ValueError(f"{name} is {str(number)[:40]!r}; give the number of classes, or id2label.")
        if self.id2label is None:
            self.num_labels = next(n for n in (kwargs.get("num_labels"), count, DEFAULT_OBJECTS) if n is not None)
        elif count not in (None, self.num_labels):
            raise ValueError(f"id2label has {self.num_labels} names for num_objects={count}.")
        else:
            self.id2label = self.id2label  # and label2id with it
        super().__post_init__(**kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; `label2id` follows the names of classes, which `from_pretrained` may set alone."""
        if name == "id2label" and value is not None:
            value = {int(index): label for index, label in value.items()}
            if sorted(value) != list(range(len(value))):
                raise ValueError(f"id2label must name the classes 0 to {len(value) - 1}, each number once.")
            super().__setattr__("label2id", {label: index for index, label in value.items()})
        super().__setattr__(name, value)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, and the number of classes, which a file has said since there are such files."""
        return super().to_dict() | {"num_objects": self.num_objects}

    @classmethod
    def from_variant(cls, variant: str, changes: dict[str, Any] | None = None) -> "RegionDetectorConfig":
        """Return the configuration of "bua", "d2-c4", "d2-fpn" or "lxmert", with `changes` of its fields.

        Raises:
            ValueError: for an unknown variant.
        """
        values = find_variant(variant, REGION_DETECTOR_VARIANTS) | (changes or {})
        if changes and not changes.keys().isdisjoint(("id2label", "num_labels")):
            values["num_objects"] = changes.get("num_objects")  # not the variant's number
        return cls(**values)

    @property
    def num_levels(self) -> int:
        """Feature maps that the RPN looks at."""
        return len(self.cell_anchors or self.anchor_sizes)

    @property
    def background_index(self) -> int:
        """Column of the background in the class logits."""
        return 0 if self.background_first else self.num_objects

    @property
    def feature_dim(self) -> int:
        """Width of a region's features."""
        return self.res2_channels * 8 if self.head == "res5" else self.fc_dim

    def validate_choices(self) -> None:
        """Raise ValueError for a value that names nothing."""
        choices = {
            "head": ("res5", "fc"),
            "objectness": ("softmax", "sigmoid"),
            "anchor_style": ("caffe", "detectron2"),
            "pooler": ("roi_pool", "roi_align"),
            "region_boxes": REGION_BOXES,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(allowed)}.")
        if not TIMM_NAME.fullmatch(self.backbone):
            raise ValueError(f"backbone is {self.backbone[:80]!r}; give resnet, or the name of a timm model.")
        if self.backbone == "resnet" and self.depth not in RESNET_BLOCKS:
            raise ValueError(f"depth is {self.depth}; a ResNet detector has {' or '.join(map(str, RESNET_BLOCKS))}.")

    def validate_names(self) -> None:
        """Raise ValueError for a `label2id` that was given alone: the names of detections are those of `id2label`."""
        for label, index in (self.label2id or {}).items():
            if (int(index), label) not in (self.id2label or {}).items():
                raise ValueError(
                    f"label2id has a class {str(label)[:40]!r} that id2label lacks; give both, or id2label alone."
                )

    def validate_parts(self) -> None:
        """Raise ValueError for parts that do not fit together."""
        if self.backbone != "resnet" and self.head == "res5":
            raise ValueError(f"The head res5 continues a ResNet; with the backbone {self.backbone} use head='fc'.")
        if self.backbone != "resnet" and not self.timm_out_indices:
            raise ValueError(f"timm_out_indices must say which feature maps of {self.backbone} are used, e.g. [2, 3].")
        if not 1 <= sum(map(len, self.cell_anchors or self.anchor_sizes)) * len(self.anchor_ratios) <= MAX_ANCHORS:
            raise ValueError(f"anchor_sizes and anchor_ratios must give between 1 and {MAX_ANCHORS} anchors a cell.")
        if self.fpn_channels is not None and self.head == "res5":
            raise ValueError("A feature pyramid has res5 in its backbone: use head='fc' with fpn_channels.")
        if self.fpn_channels is None and self.num_levels != 1:
            raise ValueError(f"anchor_sizes has {self.num_levels} levels, but without fpn_channels there is one.")
        if len({len(level) for level in self.cell_anchors or self.anchor_sizes}) != 1:
            raise ValueError(f"All levels need equally many anchors; anchor_sizes is {list(self.anchor_sizes)}.")
        names = self.attribute_names
        if names is not None and len(names) != self.num_attributes:
            raise ValueError(f"attribute_names has {len(names)} names for num_attributes={self.num_attributes}.")


__all__ = ["REGION_BOXES", "REGION_DETECTOR_VARIANTS", "RESNET_BLOCKS", "RegionDetectorConfig", "find_variant"]
