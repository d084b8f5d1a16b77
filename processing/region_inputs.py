"""Regions of images, from a detector or from records, to padded tensors, and the seven numbers of their positions."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, SupportsInt

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

# A `RegionOutput` (a mapping too), one row of `wenlan.data.read_regions`, or several.
Regions = Mapping[str, object] | Sequence[Mapping[str, object]]
CAUSES = ("no regions", "wrong width", "not finite", "bad boxes", "no class distribution")


class RegionError(ValueError):
    """Regions of an image that MLMM cannot read; `cause` is one of `CAUSES`, for counting."""

    # One required argument: a DataLoader rebuilds a worker's exception from its message alone.
    def __init__(self, message: str, cause: str = "bad boxes"):
        super().__init__(message)
        self.cause = cause


class ImageRegions(NamedTuple):
    """The regions of one image: features (n, d) float32, boxes (n, 7), class_probs (n, c) float32 or None."""

    features: Tensor
    boxes: Tensor
    class_probs: Tensor | None = None


def list_regions(regions: Regions) -> list[Mapping[str, object]]:
    """Return one row an image, in the form of `wenlan.data.read_regions`."""
    if not isinstance(regions, Mapping):
        return list(regions)
    if "image_sizes" not in regions:
        return [regions]
    padded = {name: torch.as_tensor(regions[name]) for name in ("boxes", "features", "class_probs") if name in regions}
    masks, sizes = torch.as_tensor(regions["attention_mask"]).bool(), torch.as_tensor(regions["image_sizes"])
    return [
        {"image_height": height, "image_width": width} | {name: rows[index, mask] for name, rows in padded.items()}
        for index, (mask, (height, width)) in enumerate(zip(masks, sizes.tolist(), strict=True))
    ]


def read_regions_of(
    row: Mapping[str, object], name: str, *, feature_dim: int | None = None, with_class_probs: bool = False
) -> ImageRegions:
    """Return the regions of one row.

    Args:
        row: `boxes` (n, 4), `features` (n, d), `image_height` and `image_width` (both None: the boxes are fractions of
            the image) and, if asked for, `class_probs` (n, c).
        name: of the image, for messages.
        feature_dim: width that the features must have; None: any.
        with_class_probs: whether the class distributions are needed.

    Raises:
        RegionError: there is no region, the features have another width or hold NaN, boxes do not fit, or a class
            distribution is missing.
    """
    features, boxes = _tensor(row["features"]), _tensor(row["boxes"])
    if len(features) == 0:
        raise RegionError(
            f"{name} has no regions; leave it out, or extract its regions again with min_boxes of 1 or more.",
            "no regions",
        )
    if features.ndim != 2 or (feature_dim is not None and features.shape[1] != feature_dim):
        raise RegionError(
            f"{name} has features of shape {tuple(features.shape)}: {features.shape[-1]} numbers a region, where "
            f"{feature_dim} are expected. Extract the regions with the detector that the model was trained on.",
            "wrong width",
        )
    if not features.isfinite().all():
        count = int((~features.isfinite().all(dim=1)).sum())
        raise RegionError(
            f"{name} has NaN or infinity in the features of {count} of {len(features)} regions; extract them again.",
            "not finite",
        )
    if boxes.shape != (len(features), 4):
        raise RegionError(f"{name} has boxes of shape {tuple(boxes.shape)} for {len(features)} regions, not (n, 4).")
    try:
        height, width = image_size(row)
        vectors = normalize_boxes(boxes, height=height, width=width)
    except ValueError as error:
        raise RegionError(f"{name}: {error}") from error
    return ImageRegions(features, vectors, _class_probs(row, name, len(features)) if with_class_probs else None)


def image_size(row: Mapping[str, object]) -> tuple[int | None, int | None]:
    """Return the height and width of the image of a row in pixels, None where they are not known.

    Raises:
        ValueError: one is not a number.
    """

    def side(name: str) -> int | None:
        value = row.get(name)
        if value is not None and not isinstance(value, SupportsInt):
            raise ValueError(f"{name} is {value!r}, not a number of pixels.")
        return None if value is None else int(value)

    return side("image_height"), side("image_width")


def pad_regions(images: Sequence[ImageRegions]) -> dict[str, Tensor]:
    """Return the regions of B images as tensors, N = the most regions of an image.

    Returns:
        region_features (B, N, d) and region_boxes (B, N, 7) float32, zero where padded.
        region_attention_mask: (B, N) int64, 1 = real region.
        region_class_probs: (B, N, c) float32, if the images have them.

    Raises:
        RegionError: the features or the class distributions of two images have different widths.
    """
    columns = {"region_features": [one.features for one in images], "region_boxes": [one.boxes for one in images]}
    if probs := [one.class_probs for one in images if one.class_probs is not None]:
        columns["region_class_probs"] = probs
    for name, values in columns.items():
        if len(widths := sorted({value.shape[1] for value in values})) > 1:
            raise RegionError(f"{name} of one batch are {' and '.join(map(str, widths))} wide.", "wrong width")
    batch = {name: pad_sequence(values, batch_first=True) for name, values in columns.items()}
    masks = [torch.ones(len(image.boxes), dtype=torch.int64) for image in images]
    return batch | {"region_attention_mask": pad_sequence(masks, batch_first=True)}


def _class_probs(row: Mapping[str, object], name: str, count: int) -> Tensor:
    if row.get("class_probs") is None:
        raise RegionError(
            f"{name} has no class distribution, which the MRC task learns from; extract its regions with "
            "wenlan extract-regions, or leave MRC out.",
            "no class distribution",
        )
    probs = _tensor(row["class_probs"])
    if probs.ndim != 2 or len(probs) != count:
        raise RegionError(f"{name} has class_probs of shape {tuple(probs.shape)} for {count} regions.", "wrong width")
    if not probs.isfinite().all():
        raise RegionError(f"{name} has NaN or infinity in its class distribution; extract it again.", "not finite")
    return probs


def _tensor(values: object) -> Tensor:
    if isinstance(values, Tensor):
        return values.float()
    return torch.from_numpy(np.array(values, dtype=np.float32))  # a copy: mapped records are read-only


MARGIN = 1e-3  # by which a rounded box may leave its image


def normalize_boxes(boxes: Tensor, *, height: int | None = None, width: int | None = None) -> Tensor:
    """Return (n, 7) float32: x1, y1, x2, y2, width, height, area, all relative to the image. Source: UC2, UNITER.

    Args:
        boxes: (n, 4) x1, y1, x2, y2, in pixels of the image; without its size: fractions of it.
        height, width: of the image in pixels.

    Raises:
        ValueError: a side of the image is below 1, a box holds NaN, has negative width or height, or leaves the
            image, as boxes in pixels do where no size is given.
    """
    boxes = boxes.float().reshape(-1, 4)
    if height is not None and width is not None:
        if height < 1 or width < 1:
            raise ValueError(f"The image is {height} high and {width} wide; both must be 1 or more.")
        boxes = boxes / boxes.new_tensor([width, height, width, height])
    sides = boxes[:, 2:] - boxes[:, :2]
    if len(boxes) and not (boxes.min() >= -MARGIN and boxes.max() <= 1 + MARGIN and sides.min() >= 0):
        raise ValueError(_box_fault(boxes, sides, height, width))
    return torch.cat([boxes, sides, sides.prod(dim=1, keepdim=True)], dim=1)


def _box_fault(boxes: Tensor, sides: Tensor, height: int | None, width: int | None) -> str:
    if not boxes.isfinite().all():
        return "A box holds NaN or infinity."
    outside = ((boxes < -MARGIN) | (boxes > 1 + MARGIN)).any(dim=1)
    if outside.any():
        row = int(outside.nonzero()[0])
        size = "no size of the image is known" if height is None or width is None else f"it is {height} x {width}"
        return f"Box {row} reaches out of the image ({boxes[row].tolist()} of it); {size}."
    row = int((sides < 0).any(dim=1).nonzero()[0])
    return f"Box {row} has negative width or height: {boxes[row].tolist()} must be x1, y1, x2, y2."


__all__ = [
    "ImageRegions",
    "RegionError",
    "Regions",
    "image_size",
    "list_regions",
    "normalize_boxes",
    "pad_regions",
    "read_regions_of",
]
