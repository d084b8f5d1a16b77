"""Images, and optionally their boxes, to the tensors that BriVL reads.

The order of operations is that of the BriVL 1.0 released code under the torchvision of its time (0.8, 0.9): divide by
255, resize the float tensor to a square without antialiasing, normalise. Current resize functions antialias by default,
which moves shrunk pixels by up to 0.7 normalised units.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers.image_processing_backends import TorchvisionBackend
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, ImageInput, PILImageResampling
from transformers.processing_utils import ImagesKwargs, Unpack
from transformers.utils import TensorType

from .array_images import array_to_image, is_array, iterate_images
from .image_decoding import ImageSource, decode_image

MAX_SIDE, MAX_REGIONS = 8192, 10_000  # a file from anywhere may ask for any number
MIN_SIDE = 10  # of an image in whose first pixel no object is
BoxesInput = Sequence[np.ndarray | torch.Tensor | Sequence[Sequence[float]]]


class BriVLImageProcessorKwargs(ImagesKwargs, total=False):
    """Settings of `BriVLImageProcessor` beyond transformers' `ImagesKwargs`.

    Attributes:
        antialias: smooth when shrinking. False equals the original; True suits models trained with it.
        max_regions: rows of the box tensor: the boxes of the detector plus one for the whole image.
        as_original: decode as the original code, for published figures: no EXIF rotation, alpha dropped. See
            `decode_image`.
    """

    antialias: bool
    max_regions: int
    as_original: bool


class BriVLImageProcessor(TorchvisionBackend):
    """Square, normalised `pixel_values`, and `boxes` with their mask when boxes are given.

    The defaults equal the released BriVL ("w/ RoBERTa-base", Nature Communications): 456 px, 36 + 1 regions.
    """

    valid_kwargs = BriVLImageProcessorKwargs
    model_input_names = ["pixel_values"]  # what always comes

    resample = PILImageResampling.BILINEAR
    image_mean = IMAGENET_DEFAULT_MEAN
    image_std = IMAGENET_DEFAULT_STD
    size = {"height": 456, "width": 456}
    do_resize = True
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True
    antialias = False
    max_regions = 37
    as_original = False

    def __init__(self, **kwargs: Unpack[BriVLImageProcessorKwargs]) -> None:
        super().__init__(**kwargs)  # type: ignore[misc]  # transformers takes all names in `valid_kwargs`

    def preprocess(
        self, images: ImageInput, boxes: BoxesInput | None = None, **kwargs: Unpack[BriVLImageProcessorKwargs]
    ) -> BatchFeature:
        """Return the tensors of a batch, S = `size`, R = `max_regions`.

        Args:
            images: one or more of what `decode_image` reads (PIL images, paths, bytes of encoded images, arrays or
                tensors), or arrays or tensors of several (N, ...). EXIF rotation is applied, transparency is on white
                (neither with `as_original`), and the values of arrays are brought to 8 bits. Only with
                `do_rescale=False` are floats taken as they are.
            boxes: one (n, 4) array an image, x1 y1 x2 y2 in pixels of the original image after EXIF rotation; n may
                be 0.
            **kwargs: overrides of this processor's settings for one call, and `return_tensors`. With
                `do_convert_rgb=False` an array keeps its channels, for which there must be means.

        Returns:
            pixel_values: (B, 3, S, S) float32.
            boxes: (B, R, 4) float32, only when given. x1 y1 x2 y2 in pixels of the resized image: the first R - 1
                boxes in their order, then the whole image, then rows of zeros. Neither clipped nor sorted, as in
                BriVL 1.0.
            box_mask: (B, R) int64, only with boxes. 1 = real region.

        Raises:
            ImageDecodingError: an image cannot be decoded.
            ValueError: the boxes do not match the images, or one is not finite, reversed, empty or mostly outside of
                its image, or all are fractions.
        """
        return super().preprocess(images, image_like_kwargs={"boxes": boxes}, **kwargs)

    def fetch_images(self, image_url_or_urls: object) -> list[Any]:
        """Return the images, which are open already. URLs are not opened."""
        return list(iterate_images(image_url_or_urls))

    def rescale(self, image: torch.Tensor, scale: float, **kwargs: Any) -> torch.Tensor:  # type: ignore[override]  # tensors, as TorchvisionBackend, where its base has arrays
        """Return the image times `scale`, rounded as `ToTensor` does."""
        # 1 / 255 has no exact float: a product would differ from the original's division by 1e-6 after normalisation.
        return image / (1 / scale)

    def _standardize_kwargs(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        settings = super()._standardize_kwargs(*args, **kwargs)
        size = settings["size"]
        if not size.height or size.height != size.width:
            raise ValueError(f"BriVL reads square images, but size is {size}; give one number, such as size=456.")
        if size.height > MAX_SIDE:
            raise ValueError(f"size is {size.height}; an image has at most {MAX_SIDE} pixels a side.")
        if not 1 <= settings["max_regions"] <= MAX_REGIONS:
            found = settings["max_regions"]
            raise ValueError(f"max_regions is {found}; give at least 1, the whole image, and at most {MAX_REGIONS}.")
        if settings.get("do_center_crop") or settings.get("do_pad"):
            raise ValueError(
                "BriVL neither crops nor pads, since that would move the boxes; remove do_center_crop and do_pad."
            )
        return settings

    def _preprocess_image_like_inputs(
        self,
        images: ImageInput,
        *args: Any,
        boxes: BoxesInput | None = None,
        return_tensors: str | TensorType | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        opened = [_open(image, **kwargs) for image in iterate_images(images)]
        originals: list[torch.Tensor] = self._prepare_image_like_inputs(opened, **kwargs)
        data = {"pixel_values": [self._to_pixel_values(image, **kwargs) for image in originals]}
        if boxes is not None:
            if len(boxes) != len(originals):
                raise ValueError(
                    f"{len(boxes)} arrays of boxes for {len(originals)} images; give one (n, 4) array an image."
                )
            regions = [
                _to_regions(
                    _check_boxes(array, index, image.shape), image.shape, pixel_values.shape, kwargs["max_regions"]
                )
                for index, (array, image, pixel_values) in enumerate(
                    zip(boxes, originals, data["pixel_values"], strict=True)
                )
            ]
            data["boxes"], data["box_mask"] = (list(column) for column in zip(*regions, strict=True))
        return BatchFeature(data=data, tensor_type=return_tensors)

    def _to_pixel_values(self, image: torch.Tensor, **settings: Any) -> torch.Tensor:
        # One at a time: web images hardly ever share a size, and so an image's numbers never depend on its batch.
        image = image.to(torch.float32)
        if settings["do_rescale"]:
            image = self.rescale(image, settings["rescale_factor"])
        if settings["do_resize"]:
            resample, antialias = settings["resample"], settings["antialias"]
            image = self.resize(image, settings["size"], resample=resample, antialias=antialias)  # (3, S, S)
        if settings["do_normalize"]:
            if len(image) != len(settings["image_mean"]):
                raise ValueError(
                    f"An image has {len(image)} channels, and image_mean {len(settings['image_mean'])}: leave "
                    "do_convert_rgb=True, or give an image_mean and an image_std for them."
                )
            image = self.normalize(image, settings["image_mean"], settings["image_std"])
        return image


def _open(
    image: ImageSource,
    *,
    do_rescale: bool,
    do_convert_rgb: bool,
    as_original: bool,
    input_data_format: str | None = None,
    **settings: Any,
) -> Any:
    if is_array(image) and not do_rescale and torch.as_tensor(image).is_floating_point():
        return image
    if is_array(image) and not do_convert_rgb:
        return array_to_image(image, channels=input_data_format)
    return decode_image(image, input_data_format=input_data_format, as_original=as_original)


def _check_boxes(
    array: np.ndarray | torch.Tensor | Sequence[Sequence[float]], index: int, shape: torch.Size
) -> torch.Tensor:
    try:
        boxes = torch.as_tensor(np.asarray(array, dtype=np.float32))
    except (TypeError, ValueError) as error:  # such as rows of unequal length
        raise ValueError(f"The boxes of image {index} are no (n, 4) array of numbers: {error}") from error
    if boxes.numel() == 0:
        return boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(
            f"The boxes of image {index} have shape {tuple(boxes.shape)}; expected (n, 4): x1, y1, x2, y2."
        )
    good = boxes.isfinite().all(dim=1) & (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    if not good.all():
        row = int(good.logical_not().nonzero()[0])
        raise ValueError(
            f"Box {row} of image {index} is {boxes[row].tolist()}; expected finite x1 < x2 and y1 < y2 in pixels. "
            "Fix it or leave it out."
        )
    height, width = shape[-2:]
    if min(height, width) >= MIN_SIDE and boxes.abs().max() <= 1:
        raise ValueError(f"All boxes of image {index} lie within its first pixel: give pixels, not fractions.")
    inside = torch.minimum(boxes.clamp(min=0), torch.tensor([width, height] * 2))
    outside = _areas(inside) < _areas(boxes) / 2
    if outside.any():
        row = int(outside.nonzero()[0])
        raise ValueError(
            f"Box {row} of image {index}, {boxes[row].tolist()}, lies outside of the image, or most of it does: the "
            f"upright image has {width} x {height} pixels. Fix it or leave it out."
        )
    return boxes


def _areas(boxes: torch.Tensor) -> torch.Tensor:
    return (boxes[:, 2:].double() - boxes[:, :2].double()).prod(dim=1)


def _to_regions(
    boxes: torch.Tensor, original_shape: torch.Size, resized_shape: torch.Size, max_regions: int
) -> tuple[torch.Tensor, torch.Tensor]:
    (height, width), (new_height, new_width) = original_shape[-2:], resized_shape[-2:]
    scale = torch.tensor([new_width / width, new_height / height] * 2)
    whole = torch.tensor([[0.0, 0.0, new_width, new_height]])
    valid = torch.cat([boxes[: max_regions - 1] * scale, whole])
    regions = torch.zeros(max_regions, 4)
    regions[: len(valid)] = valid
    return regions, (torch.arange(max_regions) < len(valid)).long()


__all__ = ["BoxesInput", "BriVLImageProcessor", "BriVLImageProcessorKwargs"]
