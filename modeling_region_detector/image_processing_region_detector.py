"""Images to the tensors that the region detector reads, and its output to detections."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils._pytree import tree_map
from transformers.image_processing_backends import TorchvisionBackend
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import ChannelDimension, ImageInput, PILImageResampling, SizeDict
from transformers.processing_utils import ImagesKwargs, Unpack
from transformers.utils import ModelOutput

from .annotations import Annotation, to_labels
from .array_images import array_to_image, is_array, iterate_images, to_rgb, turn_upright
from .configuration_region_detector import find_variant
from .postprocessing import detect
from .resizing import resize_like_opencv, resize_like_pillow

# What differs from the defaults, which are those of "bua": caffe's bottom-up attention on Visual Genome.
PREPARATIONS: dict[str, dict[str, Any]] = {
    "bua": {},
    "lxmert": {
        "resize_style": "pillow",
        "size": {"shortest_edge": 800, "longest_edge": 1333},
        "nms_threshold": 0.5,
        "plus_one": False,
    },
}
PREPARATIONS["d2-c4"] = PREPARATIONS["lxmert"] | {"image_mean": [103.53, 116.28, 123.675]}
PREPARATIONS["d2-fpn"] = PREPARATIONS["d2-c4"] | {"size_divisibility": 32}

MAX_SIDE = 8192  # of a resized image; a file from anywhere may ask for any
MIN_SIDE = 3  # caffe's stem makes nothing of less; a sliver is padded to it


class RegionImageProcessorKwargs(ImagesKwargs, total=False):
    """Keywords of `RegionImageProcessor` beyond transformers' `ImagesKwargs`.

    Attributes:
        do_flip_channel_order: blue first. `image_mean` and `image_std` are then in that order too.
        resize_style: "opencv" (floats, no smoothing, one exact scale) or "pillow" (uint8, smoothed).
        size_divisibility: the padded height and width are multiples of it; 0 or 1 pads to the largest image only.
        max_attributes: attributes of a box that are kept.
        nms_threshold: overlap from which the worse of two detections of a class goes.
        plus_one: that overlap counts the last pixel of a box (caffe).
    """

    do_flip_channel_order: bool
    resize_style: str
    size_divisibility: int
    max_attributes: int
    nms_threshold: float
    plus_one: bool


class RegionBatch(BatchFeature):
    """A batch whose `image_scales` and `labels` stay float32 when it is cast: boxes of 16 bits are pixels off."""

    def to(self, *args: object, **kwargs: object) -> "RegionBatch":
        """Send all tensors to a device and cast the pixels, in place."""
        kept = {name: self[name] for name in ("image_scales", "labels") if name in self}
        super().to(*args, **kwargs)
        self.update(tree_map(lambda tensor: tensor.to(self["pixel_values"].device), kept))
        return self


class RegionImageProcessor(TorchvisionBackend):
    """Resized, normalised and padded `pixel_values` with their mask and scales, and `labels` when boxes are given.

    The defaults are those of bottom-up attention (BUA): blue first, resized as OpenCV does, the shorter side 600 pixels
    unless the longer one would pass 1000. `from_variant` has those of the other detectors. A timm
    backbone reads red first and values of 0..1:

    ```python
    >>> from wenlan.modeling_region_detector import RegionImageProcessor
    >>> processor = RegionImageProcessor(
    ...     size={"shortest_edge": 192, "longest_edge": 320}, resize_style="pillow", do_flip_channel_order=False,
    ...     do_rescale=True, image_mean=[0.5] * 3, image_std=[0.5] * 3, size_divisibility=32, plus_one=False,
    ... )

    ```

    Source: spec of the region features, section 2.
    """

    valid_kwargs = RegionImageProcessorKwargs
    model_input_names = ["pixel_values", "pixel_mask", "image_scales"]

    do_convert_rgb = True
    do_flip_channel_order = True
    do_resize = True
    resize_style = "opencv"
    size = {"shortest_edge": 600, "longest_edge": 1000}
    default_to_square = False
    resample = PILImageResampling.BILINEAR
    do_rescale = False
    do_normalize = True
    image_mean = [102.9801, 115.9465, 122.7717]
    image_std = [1.0, 1.0, 1.0]
    size_divisibility = 0
    max_attributes = 16
    nms_threshold = 0.3
    plus_one = True

    def __init__(self, **kwargs: Unpack[RegionImageProcessorKwargs]) -> None:
        super().__init__(**kwargs)  # type: ignore[misc]  # it names the keywords of ImagesKwargs and takes all

    @classmethod
    def from_variant(cls, variant: str, changes: dict[str, Any] | None = None) -> "RegionImageProcessor":
        """Return the processor of "bua", "d2-c4", "d2-fpn" or "lxmert", with `changes` of its settings.

        The detectron2 ones are for weights of MSRA (`image_std` 1); where the configuration of a checkpoint says
        otherwise, it goes first.

        Raises:
            ValueError: for an unknown variant.
        """
        return cls(**(find_variant(variant, PREPARATIONS) | (changes or {})))

    def preprocess(
        self,
        images: ImageInput,
        annotations: Annotation | Sequence[Annotation] | None = None,
        **kwargs: Unpack[RegionImageProcessorKwargs],
    ) -> BatchFeature:
        """Return the tensors of a batch.

        Args:
            images: one or more PIL images of any mode, or arrays or tensors of an image (see `array_to_image`) or of
                several (N, ...). Files are opened by `wenlan.processing.decode_image`. PIL images are turned upright;
                transparency becomes white.
            annotations: one an image, in COCO's form (see `to_labels`); boxes in pixels of the upright image.
            **kwargs: overrides of this processor's settings for one call, and `return_tensors`. With
                `do_convert_rgb=False` an image keeps its channels, for which there must be means.

        Returns:
            pixel_values: (B, 3, H, W) float32, zeros right of and below an image.
            pixel_mask: (B, H, W) int64, 1 = image.
            image_scales: (B, 2) float32, resized / original of y and x.
            labels: with annotations, a list of what `to_labels` gives.

        Raises:
            TypeError: for a path or a URL.
            ValueError: for annotations that do not fit, or an array of a shape or of values that are not certain.
        """
        return super().preprocess(images, image_like_kwargs={"annotations": annotations}, **kwargs)

    def fetch_images(self, image_url_or_urls: object) -> list[Any]:
        """Return the images in a list. Nothing is opened."""
        images = list(iterate_images(image_url_or_urls))
        for image in images:
            if not (isinstance(image, Image.Image) or is_array(image)):
                kind = type(image).__name__
                raise TypeError(
                    f"An image is a PIL image, an array or a tensor, not {kind}; open files with decode_image."
                )
        return images

    def process_image(
        self,
        image: Any,
        do_convert_rgb: bool | None = None,
        input_data_format: str | ChannelDimension | None = None,
        device: torch.device | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Return one image as a (3, H, W) uint8 tensor; with `do_convert_rgb=False` it keeps its channels.

        Raises:
            ValueError: for other channels than the mean and the standard deviation have.
        """
        image = array_to_image(image, channels=input_data_format) if is_array(image) else image
        pixels = np.array(to_rgb(image) if do_convert_rgb else turn_upright(image))
        tensor = super().process_image(pixels, False, ChannelDimension.LAST, device, **kwargs)
        means = kwargs.get("image_mean") or self.image_mean
        if len(tensor) != len(means):
            raise ValueError(
                f"An image in mode {image.mode} has {len(tensor)} channels, and image_mean {len(means)}: leave "
                "do_convert_rgb=True, or give an image_mean and an image_std for them."
            )
        return tensor

    def post_process_object_detection(
        self,
        outputs: ModelOutput,
        threshold: float = 0.5,
        target_sizes: Tensor | Sequence[tuple[int, int]] | None = None,
        top_k: int = 100,
    ) -> list[dict[str, Tensor]]:
        """Return the detections of each image, best first.

        Every pair of a box and an object class that is more probable than the threshold counts; then non-maximum
        suppression within each class, at `nms_threshold`.

        Args:
            outputs: of `RegionDetector`. Its boxes are in pixels of the original images.
            threshold: detections score more.
            target_sizes: (height, width) an image; boxes are clipped to it. Nothing is scaled.
            top_k: at most so many detections an image. Those of which nothing is inside the image are left out.

        Returns:
            scores (n,), labels (n,) from 0 without the background, boxes (n, 4) x1 y1 x2 y2.

        Raises:
            ValueError: for another number of target sizes than of images.
        """
        boxes = outputs["pred_boxes"].float()  # (b, n, c, 4)
        probabilities = outputs["logits"].float().softmax(-1)  # (b, n, k)
        if boxes.shape[2] == probabilities.shape[-1]:  # boxes for the background too: it is the first class
            boxes, probabilities = boxes[:, :, 1:], probabilities[..., 1:]
        else:
            probabilities = probabilities[..., :-1]
        if target_sizes is not None and len(target_sizes) != len(boxes):
            raise ValueError(f"{len(target_sizes)} target sizes for {len(boxes)} images; give one an image.")
        find = partial(
            detect, threshold=threshold, max_boxes=top_k, nms_threshold=self.nms_threshold, plus_one=self.plus_one
        )
        detections = []
        for index, mask in enumerate(outputs["proposal_mask"].bool()):
            candidates, scores = boxes[index, mask], probabilities[index, mask]
            box_ids, labels, scores = find(candidates, scores)
            found = candidates[box_ids, labels]
            if target_sizes is not None:
                height, width = (float(side) for side in target_sizes[index])
                found = found.clamp(min=0).minimum(found.new_tensor([width, height, width, height]))
            shown = (found[:, 2:] > found[:, :2]).all(dim=1)
            detections.append({"scores": scores[shown], "labels": labels[shown], "boxes": found[shown]})
        return detections

    def _standardize_kwargs(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        kwargs = super()._standardize_kwargs(*args, **kwargs)
        size = kwargs["size"]
        if not size.shortest_edge or not size.longest_edge:
            raise ValueError(
                'size is {"shortest_edge": ..., "longest_edge": ...} in pixels; without the latter a panorama would '
                f"fill the memory. Given: {dict(size)}."
            )
        sides = [*dict(size).values(), *dict(kwargs["pad_size"] or {}).values(), kwargs["size_divisibility"]]
        if max(sides) > MAX_SIDE:
            raise ValueError(f"size, pad_size and size_divisibility are at most {MAX_SIDE} pixels, not {max(sides)}.")
        if kwargs["resize_style"] not in ("opencv", "pillow"):
            raise ValueError(f"resize_style is {kwargs['resize_style']!r}; it must be 'opencv' or 'pillow'.")
        if kwargs["resize_style"] == "opencv" and kwargs["resample"] != PILImageResampling.BILINEAR:
            raise ValueError("resize_style 'opencv' is bilinear; for another `resample` use resize_style='pillow'.")
        if kwargs.get("do_center_crop"):
            raise ValueError("The region detector does not crop, since that would move the boxes.")
        return kwargs

    def _preprocess_image_like_inputs(
        self,
        images: ImageInput,
        annotations: Annotation | Sequence[Annotation] | None = None,
        *args: Any,
        return_tensors: str | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        pixels = [self.process_image(image, **kwargs) for image in self.fetch_images(images)]
        resized, scales = zip(*(self._resize_and_normalize(image, **kwargs) for image in pixels), strict=True)
        pixel_values, masks = self.pad(list(resized), pad_size=_padded_size(resized, **kwargs), return_mask=True)
        batch = RegionBatch(
            {"pixel_values": pixel_values, "pixel_mask": masks, "image_scales": [torch.tensor(row) for row in scales]},
            tensor_type=return_tensors,
        )
        if annotations is not None:
            annotations = [annotations] if isinstance(annotations, Mapping) else annotations
            if len(annotations) != len(pixels):
                raise ValueError(f"{len(annotations)} annotations for {len(pixels)} images; give one an image.")
            batch["labels"] = [
                to_labels(
                    annotation,
                    image_size=(image.shape[-2], image.shape[-1]),
                    scales=scale,
                    max_attributes=kwargs["max_attributes"],
                )
                for annotation, image, scale in zip(annotations, pixels, scales, strict=True)
            ]
            if any("attributes" in labels for labels in batch["labels"]):
                for labels in batch["labels"]:
                    empty = torch.full((len(labels["boxes"]), kwargs["max_attributes"]), -1)
                    labels.setdefault("attributes", empty)
        return batch

    def _resize_and_normalize(
        self, image: Tensor, *, do_rescale: bool, do_normalize: bool, do_resize: bool, **kwargs: Any
    ) -> tuple[Tensor, tuple[float, float]]:
        # One at a time: an image's numbers never depend on its batch.
        edges: tuple[int, int] = (kwargs["size"].shortest_edge, kwargs["size"].longest_edge)

        def normalize(pixels: Tensor) -> Tensor:
            pixels = pixels.to(torch.float32)
            if do_rescale:
                pixels = self.rescale(pixels, kwargs["rescale_factor"])
            return self.normalize(pixels, kwargs["image_mean"], kwargs["image_std"]) if do_normalize else pixels

        if kwargs["do_flip_channel_order"]:
            image = image[[2, 1, 0, *range(3, len(image))]] if len(image) > 2 else image  # the fourth is alpha
        if not do_resize:
            return normalize(image), (1.0, 1.0)
        if kwargs["resize_style"] == "opencv":
            return resize_like_opencv(image, *edges, to_floats=normalize)
        image, scales = resize_like_pillow(image, *edges, resample=kwargs["resample"])
        return normalize(image), scales


def _padded_size(
    images: Sequence[Tensor], *, pad_size: SizeDict | None, size_divisibility: int, **kwargs: Any
) -> SizeDict:
    if pad_size is not None:
        return pad_size
    step = max(size_divisibility, 1)
    height, width = (max(MIN_SIDE, *(image.shape[axis] for image in images)) for axis in (1, 2))
    return SizeDict(height=-(-height // step) * step, width=-(-width // step) * step)


__all__ = ["PREPARATIONS", "RegionBatch", "RegionImageProcessor", "RegionImageProcessorKwargs"]
