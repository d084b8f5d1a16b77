"""Region features of a model that detectron2 itself builds and runs, whatever its configuration."""

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ....data.files.hashing import hash_weights
from ....data.files.model_folder import open_pretrained
from ....modeling_region_detector.configuration_region_detector import RegionDetectorConfig
from ....modeling_region_detector.image_processing_region_detector import RegionImageProcessor
from ....modeling_region_detector.modeling_region_detector import RegionDetectorOutput
from .config import image_changes
from .export import to_detectron2
from .import_shim import ensure_detectron2_importable
from .weights import list_misfits, read_detector_weights
from .yaml_loader import read_detectron2_yaml

if TYPE_CHECKING:
    from detectron2.config import CfgNode
    from detectron2.modeling import GeneralizedRCNN

USED_SECTIONS = ("MODEL", "INPUT", "TEST")
NOT_LOADED = ("num_batches_tracked", "pixel_mean", "pixel_std", "anchor_generator.cell_anchors")
WEIGHTS = ("*.safetensors", "*.pth", "*.pkl", "*.bin")
Source = str | PathLike | Mapping[str, Any]


class Detectron2Model(nn.Module):
    """A detector of detectron2, called as `RegionDetector` is and with the same output.

    Args:
        cfg: a configuration of detectron2, a file or its sections as dictionaries; what it leaves out is detectron2's
            default.
        weights: a file of weights, or a state dict.

    Attributes:
        detector: the model of detectron2.
        cfg: its whole configuration.
        config: what of it ours can say: classes, width of the features, background, number of proposals.
        model_hash: identifies configuration and weights in files of features.

    Raises:
        ImportError: without detectron2.
        ValueError: for weights that do not fit, and for a model without one head over pooled boxes.
    """

    detector: "GeneralizedRCNN"

    def __init__(self, cfg: Source, weights: Source) -> None:
        super().__init__()
        ensure_detectron2_importable()
        sections = cfg if isinstance(cfg, Mapping) else read_detectron2_yaml(Path(cfg))
        state = weights if isinstance(weights, Mapping) else read_detector_weights(Path(weights))
        self.cfg = _build_cfg(sections)
        self.detector = _build_model(self.cfg)
        _load(self.detector, state)
        self.config = _describe(self.detector, self.cfg)
        settings = json.dumps(sections, sort_keys=True, default=str)
        self.model_hash = hash_weights(settings, {name: tensor.float() for name, tensor in state.items()})

    @property
    def device(self) -> torch.device:
        """Device that the model runs on."""
        return self.detector.device

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the images that it takes."""
        return torch.float32

    def forward(
        self,
        pixel_values: Tensor,
        pixel_mask: Tensor | None = None,
        image_scales: Tensor | None = None,
        boxes: Sequence[Tensor] | None = None,
    ) -> RegionDetectorOutput:
        """Return what is in prepared images, as `RegionDetector.forward` does."""
        from detectron2.structures import Boxes, ImageList, Instances

        images = ImageList(pixel_values, _image_sizes(pixel_values, pixel_mask))
        scales = torch.ones(len(pixel_values), 2) if image_scales is None else image_scales
        scales = scales.to(pixel_values).flip(1).repeat(1, 2)  # of y and x, to x1 y1 x2 y2
        maps = self.detector.backbone(pixel_values)
        if boxes is None:
            proposals, _ = self.detector.proposal_generator(images, maps)
            scores = [image.objectness_logits.sigmoid() for image in proposals]
        else:
            given = [torch.as_tensor(b, dtype=torch.float32).reshape(-1, 4).to(scales.device) for b in boxes]
            proposals = [
                Instances(size, proposal_boxes=Boxes(b * scale))
                for size, b, scale in zip(images.image_sizes, given, scales, strict=True)
            ]
            scores = [b.new_ones(len(b)) for b in given]
        counts = [len(image) for image in proposals]
        features = self._features(maps, [image.proposal_boxes for image in proposals])
        predictor = self.detector.roi_heads.box_predictor
        logits, deltas = predictor(features)
        refined = [
            _clip(image_boxes, size, self.config.num_objects) / scale
            for image_boxes, size, scale in zip(
                predictor.predict_boxes((logits, deltas), proposals), images.image_sizes, scales, strict=True
            )
        ]
        originals = [image.proposal_boxes.tensor / scale for image, scale in zip(proposals, scales, strict=True)]
        masks = [torch.ones(count, dtype=torch.long, device=logits.device) for count in counts]
        sizes = torch.tensor(images.image_sizes, dtype=torch.float32, device=scales.device)
        return RegionDetectorOutput(
            logits=pad_sequence(logits.float().split(counts), batch_first=True),
            pred_boxes=pad_sequence(refined, batch_first=True),
            proposals=pad_sequence(originals, batch_first=True),
            proposal_mask=pad_sequence(masks, batch_first=True),
            proposal_scores=pad_sequence(scores, batch_first=True),
            features=pad_sequence(features.float().split(counts), batch_first=True),
            image_sizes=sizes / scales[:, [1, 0]],
        )

    def _features(self, maps: Mapping[str, Tensor], boxes: list[Any]) -> Tensor:
        heads = self.detector.roi_heads
        used = [maps[name] for name in heads.in_features]
        if hasattr(heads, "box_pooler"):
            features = heads.box_head(heads.box_pooler(used, boxes))
        else:
            features = heads._shared_roi_transform(used, boxes)
        return features.mean(dim=(2, 3)) if features.ndim == 4 else features


def load_detectron2(path: str | PathLike) -> tuple[Detectron2Model, RegionImageProcessor]:
    """Return the model in a folder and what prepares images as its configuration says.

    Args:
        path: a folder with detectron2's config.yaml and one file of weights, or a `RegionDetector`.

    Raises:
        FileNotFoundError: for a folder with neither, or with several files of weights.
        ImportError, ValueError: as `Detectron2Model` does.
    """
    folder = Path(path)
    files = sorted(file for pattern in WEIGHTS for file in folder.glob(pattern))
    if len(files) != 1:
        names = ", ".join(file.name for file in files) or "none"
        raise FileNotFoundError(f"{folder} must have one file of weights ({', '.join(WEIGHTS)}), not: {names}.")
    if (folder / "config.yaml").is_file():
        model = Detectron2Model(folder / "config.yaml", files[0])
        image_processor = build_image_processor(model)
    elif (folder / "config.json").is_file():
        config = open_pretrained(RegionDetectorConfig, folder)
        image_processor = open_pretrained(RegionImageProcessor, folder)
        model = Detectron2Model(to_detectron2(config, image_processor), files[0])
        model.config = config
    else:
        raise FileNotFoundError(f"{folder} has no config.yaml: write there what cfg.dump() of detectron2 gives.")
    return model, image_processor


def build_image_processor(model: Detectron2Model) -> RegionImageProcessor:
    """Return what prepares images as detectron2 would for a model."""
    changes = {"size_divisibility": model.detector.backbone.size_divisibility}
    return RegionImageProcessor.from_variant("d2-c4", image_changes("d2-c4", model.cfg) | changes)


def _image_sizes(pixel_values: Tensor, pixel_mask: Tensor | None) -> list[tuple[int, int]]:
    if pixel_mask is None:
        height, width = pixel_values.shape[-2:]
        return [(height, width)] * len(pixel_values)
    return [(int(mask[:, 0].sum()), int(mask[0].sum())) for mask in pixel_mask]


def _clip(boxes: Tensor, size: tuple[int, int], num_classes: int) -> Tensor:
    """Return (N, K, 4) inside the image for (N, 4 * K), or (N, 4) that is the same for all classes."""
    boxes = boxes.unflatten(1, (-1, 4)).expand(-1, num_classes, 4)
    height, width = size
    return boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))


def _build_cfg(sections: Mapping[str, Any]) -> "CfgNode":
    from detectron2.config import CfgNode, get_cfg

    cfg = get_cfg()
    cfg.set_new_allowed(True)  # settings of other versions and of extensions
    cfg.merge_from_other_cfg(CfgNode({name: sections[name] for name in USED_SECTIONS if name in sections}))
    cfg.MODEL.WEIGHTS = ""
    cfg.MODEL.DEVICE = "cpu"
    return cfg


def _build_model(cfg: "CfgNode") -> "GeneralizedRCNN":
    from detectron2.modeling import build_model
    from detectron2.modeling.roi_heads import Res5ROIHeads, StandardROIHeads

    try:
        model = build_model(cfg)
    except KeyError as error:  # a part that an extension would have registered
        raise ValueError(f"detectron2 does not know a part of this configuration: {error.args[0]}") from error
    heads = getattr(model, "roi_heads", None)
    if not isinstance(heads, Res5ROIHeads | StandardROIHeads) or isinstance(heads.box_predictor, nn.ModuleList):
        raise ValueError(
            f"The model is {cfg.MODEL.META_ARCHITECTURE} with {cfg.MODEL.ROI_HEADS.NAME}: region features come from "
            "GeneralizedRCNN with Res5ROIHeads or StandardROIHeads only."
        )
    if cfg.MODEL.ROI_BOX_HEAD.get("USE_SIGMOID_CE", False):
        raise ValueError("MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE gives no distribution over the classes of a region.")
    return model


def _load(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    own = model.state_dict()
    problems = [line for line in list_misfits(state, own) if not any(name in line for name in NOT_LOADED)]
    if problems:
        raise ValueError("\n  ".join(["the weights do not fit the configuration of detectron2:", *problems]))
    model.load_state_dict({name: tensor for name, tensor in state.items() if name in own}, strict=False)


def _describe(model: "GeneralizedRCNN", cfg: "CfgNode") -> RegionDetectorConfig:
    heads = model.roi_heads
    classes, width = heads.box_predictor.cls_score.weight.shape
    pools_before_res5 = not hasattr(heads, "box_pooler")
    fields = {"res2_channels": width // 8} if pools_before_res5 else {"fc_dim": width}
    fields |= {
        "num_objects": classes - 1,
        "post_nms_top_n": cfg.MODEL.RPN.POST_NMS_TOPK_TEST,
        "selection_nms_threshold": heads.box_predictor.test_nms_thresh,
    }
    return RegionDetectorConfig.from_variant("d2-c4" if pools_before_res5 else "d2-fpn", fields)


__all__ = ["Detectron2Model", "build_image_processor", "load_detectron2"]
