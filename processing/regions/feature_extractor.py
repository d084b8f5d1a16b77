"""`RegionFeatureExtractor`: images to regions, with our own detector or with a real detectron2 behind it."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import BatchFeature

from ...data.files.hashing import hash_weights
from ...data.files.model_folder import open_pretrained
from ...modeling_region_detector.boxes import nms
from ...modeling_region_detector.configuration_region_detector import REGION_BOXES, RegionDetectorConfig
from ...modeling_region_detector.image_processing_region_detector import RegionImageProcessor
from ...modeling_region_detector.modeling_region_detector import RegionDetector, RegionDetectorOutput
from ...modeling_region_detector.postprocessing import choose_by_confidence, detect, kept_confidence
from ..array_images import iterate_images
from ..image_decoding import ImageSource, decode_image
from .output import RegionOutput

if TYPE_CHECKING:
    from .detectron2_interop.backend import Detectron2Model

BACKENDS = ("native", "detectron2")
Boxes = Sequence[Tensor | np.ndarray | Sequence[Sequence[float]]]


class _Proposals(NamedTuple):
    """Output of the detector for the n proposals of one image."""

    boxes: Tensor
    refined: Tensor
    logits: Tensor
    features: Tensor
    attribute_logits: Tensor | None

    @classmethod
    def of(cls, output: RegionDetectorOutput, row: int) -> "_Proposals":
        count, attributes = int(output["proposal_mask"][row].sum()), output.attribute_logits
        return cls(
            boxes=output["proposals"][row, :count],
            refined=output["pred_boxes"][row, :count],
            logits=output["logits"][row, :count],
            features=output["features"][row, :count],
            attribute_logits=None if attributes is None else attributes[row, :count],
        )


class _Regions(NamedTuple):
    """The regions of one image, in the fields of `RegionOutput`."""

    features: Tensor
    boxes: Tensor
    class_probs: Tensor
    object_ids: Tensor
    object_scores: Tensor
    attribute_ids: Tensor | None = None
    attribute_scores: Tensor | None = None


class RegionFeatureExtractor:
    """Extract the regions of images: boxes, features, classes and attributes.

    Args:
        model: the detector; it is put into evaluation mode.
        image_processor: prepares the images for it.
        model_hash: identifies the weights in files of features; computed from them when not given.
    """

    def __init__(
        self,
        model: "RegionDetector | Detectron2Model",
        image_processor: RegionImageProcessor,
        *,
        model_hash: str | None = None,
    ) -> None:
        self.model = model.eval()
        self.image_processor = image_processor
        self.model_hash = model_hash or hash_detector(model)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | PathLike,
        backend: str = "native",
        *,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> "RegionFeatureExtractor":
        """Return the extractor of a saved detector, made fast: batch norms folded, channels last.

        Args:
            pretrained_model_name_or_path: folder or hub id of a `RegionDetector` with its image processor; for the
                detectron2 backend a folder with detectron2's `config.yaml` and its weights, or one of ours.
            backend: "native", or "detectron2" for a real detectron2 model of any configuration (it must be importable).
            dtype: of the convolutions; boxes and suppression are computed in float32 in any case.
            device: where the model runs.

        Raises:
            ValueError: for an unknown backend, or another dtype than float32 for the detectron2 backend.
            OSError: there is no such model.
        """
        if backend not in BACKENDS:
            raise ValueError(f"Unknown backend {backend!r}; there are {' and '.join(BACKENDS)}.")
        if backend == "detectron2":
            if dtype != torch.float32:
                raise ValueError(f"The detectron2 backend runs in float32, not in {dtype}; leave dtype out.")
            from .detectron2_interop.backend import load_detectron2

            detectron2_model, image_processor = load_detectron2(pretrained_model_name_or_path)
            return cls(detectron2_model.to(device), image_processor, model_hash=detectron2_model.model_hash)
        model: RegionDetector = open_pretrained(RegionDetector, pretrained_model_name_or_path, dtype=torch.float32)
        image_processor = open_pretrained(RegionImageProcessor, pretrained_model_name_or_path)
        model_hash = hash_detector(model)
        model.fold_batch_norms()
        model.to(device=device, dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-arg]  # a decorator hides self
        return cls(model, image_processor, model_hash=model_hash)

    @property
    def config(self) -> RegionDetectorConfig:
        """Configuration of the detector."""
        return self.model.config

    @torch.inference_mode()
    def extract(
        self,
        images: ImageSource | Sequence[ImageSource],
        boxes: Boxes | None = None,
        min_boxes: int = 10,
        max_boxes: int = 100,
        conf_threshold: float = 0.2,
        region_boxes: str | None = None,
        batch_size: int = 8,
    ) -> RegionOutput:
        """Return the regions of images.

        Images of equal size share a batch; others do not, since padding changes features near its edge.

        Args:
            images: one or more of what `decode_image` reads.
            boxes: one (n, 4) an image, x1 y1 x2 y2 in pixels of the image: the features of these, all, in order.
            min_boxes: at least so many regions (or all proposals), whatever their confidence.
            max_boxes: at most so many, the most confident.
            conf_threshold: confidence from which a box is a region.
            region_boxes: how they are chosen, in place of `config.region_boxes`: "proposals" (MLMM), "refined" (BriVL
                1.0: the `max_boxes` most confident, without threshold), "detections" or "refined_agnostic" (LXMERT).
            batch_size: images at a time, at most.

        Raises:
            ImageDecodingError: an image cannot be decoded.
            ValueError: no images, or arguments that do not fit.
        """
        decoded = [decode_image(image) for image in iterate_images(images)]
        region_boxes = region_boxes or self.config.region_boxes
        _check(decoded, boxes, min_boxes, max_boxes, conf_threshold, region_boxes)
        prepared = [self.image_processor([image], return_tensors="pt") for image in decoded]
        regions: dict[int, _Regions] = {}
        for group in _equally_large(prepared, batch_size):
            batch = {
                name: torch.cat([prepared[index][name] for index in group]).to(self.model.device)
                for name in ("pixel_values", "pixel_mask", "image_scales")
            }
            batch["pixel_values"] = batch["pixel_values"].to(self.model.dtype, memory_format=torch.channels_last)
            given = None if boxes is None else [torch.as_tensor(boxes[index]).reshape(-1, 4) for index in group]
            output = self.model(**batch, boxes=given)
            for row, index in enumerate(group):
                found = _Proposals.of(output, row)
                if given is not None:
                    regions[index] = self._gather(found, slice(None), found.boxes)
                else:
                    chosen = self._choose(found, region_boxes, min_boxes, max_boxes, conf_threshold)
                    # The detector clips to the resized image, whose rounded sides can be part of a pixel longer.
                    limits = chosen.boxes.new_tensor(decoded[index].size * 2)
                    regions[index] = chosen._replace(boxes=chosen.boxes.minimum(limits))
        return self._pad([regions[index] for index in range(len(decoded))], decoded)

    def _choose(
        self, found: _Proposals, region_boxes: str, min_boxes: int, max_boxes: int, conf_threshold: float
    ) -> _Regions:
        config = self.config
        probs = _without_background(found.logits.softmax(dim=1), config)
        refined = found.refined[:, 1:] if config.background_first else found.refined
        nms_threshold, plus_one = config.selection_nms_threshold, config.plus_one
        if region_boxes == "detections":
            kept, classes, scores = detect(
                refined,
                probs,
                threshold=conf_threshold,
                min_boxes=min_boxes,
                max_boxes=max_boxes,
                nms_threshold=nms_threshold,
                plus_one=plus_one,
            )
            regions = self._gather(found, kept, refined[kept, classes])
            return regions._replace(object_ids=classes, object_scores=scores)
        scores, classes = probs.max(dim=1)
        boxes = refined[torch.arange(len(probs), device=probs.device), classes]
        if region_boxes == "refined_agnostic":
            kept = nms(boxes, scores, nms_threshold, plus_one=plus_one)[:max_boxes]
            return self._gather(found, kept, boxes[kept])
        confidence_of = partial(
            kept_confidence, probs=probs, threshold=conf_threshold, nms_threshold=nms_threshold, plus_one=plus_one
        )
        if region_boxes == "refined":  # the published code has no threshold here
            kept = confidence_of(boxes, enough=max_boxes).argsort(descending=True, stable=True)[:max_boxes]
            return self._gather(found, kept, boxes[kept])
        confidence = confidence_of(found.boxes, enough=min_boxes)
        kept = choose_by_confidence(confidence, threshold=conf_threshold, min_boxes=min_boxes, max_boxes=max_boxes)
        return self._gather(found, kept, found.boxes[kept])

    def _gather(self, found: _Proposals, kept: Tensor | slice, boxes: Tensor) -> _Regions:
        probs = found.logits[kept].softmax(dim=1)
        scores, classes = _without_background(probs, self.config).max(dim=1)
        regions = _Regions(found.features[kept], boxes, probs, object_ids=classes, object_scores=scores)
        if found.attribute_logits is None:
            return regions
        attributes = found.attribute_logits[kept].softmax(dim=1)
        scores, classes = _without_background(attributes, self.config).max(dim=1)
        return regions._replace(attribute_ids=classes, attribute_scores=scores)

    def _pad(self, regions: list[_Regions], images: Sequence[Image.Image]) -> RegionOutput:
        columns: dict[str, Tensor] = {
            name: pad_sequence([getattr(region, name) for region in regions], batch_first=True).cpu()
            for name, first in regions[0]._asdict().items()
            if first is not None
        }
        masks = [torch.ones(len(region.boxes), dtype=torch.long) for region in regions]
        return RegionOutput(
            **columns,
            attention_mask=pad_sequence(masks, batch_first=True),
            background_index=self.config.background_index,
            image_sizes=torch.tensor([[image.height, image.width] for image in images]),
        )


def _equally_large(prepared: Sequence[BatchFeature], batch_size: int) -> Iterator[list[int]]:
    """Yield the indices of images that need no padding beside one another."""
    groups: dict[tuple, list[int]] = defaultdict(list)
    for index, inputs in enumerate(prepared):
        mask = inputs["pixel_mask"][0]
        groups[(*mask.shape, int(mask[:, 0].sum()), int(mask[0].sum()))].append(index)
    for group in groups.values():
        yield from (group[start : start + batch_size] for start in range(0, len(group), batch_size))


def _without_background(probs: Tensor, config: RegionDetectorConfig) -> Tensor:
    """Return the probabilities of the classes, or of the attributes, without that of "none of them"."""
    return probs[:, 1:] if config.background_first else probs[:, :-1]


def _check(
    images: Sequence[Image.Image],
    boxes: Boxes | None,
    min_boxes: int,
    max_boxes: int,
    conf_threshold: float,
    region_boxes: str,
) -> None:
    if len(images) == 0:
        raise ValueError("There is no image to find regions in; give a list of at least one.")
    if boxes is not None and len(boxes) != len(images):
        raise ValueError(f"{len(boxes)} lists of boxes for {len(images)} images; give one an image.")
    if region_boxes not in REGION_BOXES:
        raise ValueError(f"region_boxes is {region_boxes!r}; it must be one of {', '.join(REGION_BOXES)}.")
    if not (0 <= min_boxes <= max_boxes and max_boxes >= 1):
        raise ValueError(f"min_boxes={min_boxes} and max_boxes={max_boxes} must be 0 <= min <= max, max from 1.")
    if not 0 <= conf_threshold <= 1:
        raise ValueError(f"conf_threshold is {conf_threshold}; it is a probability, from 0 to 1.")


def hash_detector(model: "RegionDetector | Detectron2Model") -> str:
    """Return 16 hexadecimal digits that identify the weights and the configuration of a detector."""
    names = list(RegionDetectorConfig.__annotations__)
    names.insert(names.index("num_attributes"), "num_objects")  # a field there once: the order counts, shards hold this
    settings = {name: getattr(model.config, name) for name in names}
    return hash_weights(json.dumps(settings), {name: tensor.float() for name, tensor in model.state_dict().items()})


__all__ = ["BACKENDS", "RegionFeatureExtractor", "hash_detector"]
