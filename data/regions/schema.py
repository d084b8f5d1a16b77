"""The record of an image's regions: what is in a row, and how it lies in a Parquet or Arrow file.

*region*: a box with its features; *class distribution*: a region's probability of every class, background included.

A row holds `image_id`, `image_height` and `image_width` (null where unknown), `boxes` (n, 4) as lists of float32, and
`features` as the little-endian bytes of (n, d) float16: a copy of memory each way, where lists of float16 are three
times as slow to write and read. `class_probs` are the bytes of (n, c) float16; of the k best classes only, they are a
struct of the bytes of `ids` (n, k) uint16 and of `probs` (n, k) float16, and the rest of the probability is spread
evenly over the other classes. `object_ids`, `object_scores`, `attribute_ids` and `attribute_scores` (n) are lists.
What is true of all rows stands in the file's metadata, as JSON.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..rows.report import BadRowError
from .checks import check_array, check_boxes, check_image_size, check_probabilities

if TYPE_CHECKING:
    import pyarrow as pa

METADATA_KEY = b"wenlan.regions"
BOX_UNITS = ("pixels", "normalized")
LABELS = {  # optional columns -> what a reader gets
    "object_ids": np.int64,
    "object_scores": np.float32,
    "attribute_ids": np.int64,
    "attribute_scores": np.float32,
}
MAX_WIDTH = 2**20
MAX_CLASSES = 2**16  # ids of the best classes are uint16

StoredRow = dict[str, object]  # the columns of a file, of one row


@dataclass(frozen=True)
class RegionInfo:
    """Description that all rows of a file of regions share.

    Attributes:
        model_hash: which detector gave them; of imported features the name that the user gave.
        feature_dim: width d of a region's features.
        num_classes: columns c of the class distribution, background included; 0 = there is none.
        background_index: column of the background, -1 without a class distribution.
        top_k: classes that are stored of each distribution; None = all.
        box_unit: "pixels" of the original image, or "normalized": fractions of its width and height.
        labels: which of the columns `LABELS` the rows have.
        settings: how the regions were made, for the record.
    """

    model_hash: str
    feature_dim: int
    num_classes: int = 0
    background_index: int = -1
    top_k: int | None = None
    box_unit: str = "pixels"
    labels: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.box_unit not in BOX_UNITS or not set(self.labels) <= LABELS.keys():
            raise ValueError(f"box_unit {self.box_unit!r} of {BOX_UNITS}, labels {self.labels} of {tuple(LABELS)}.")
        if not (0 <= self.num_classes <= MAX_CLASSES and 1 <= self.feature_dim <= MAX_WIDTH):
            raise ValueError(
                f"num_classes is {self.num_classes}, feature_dim {self.feature_dim}; at most {MAX_CLASSES} and "
                f"1 to {MAX_WIDTH} can be stored."
            )
        if not -1 <= self.background_index < max(1, self.num_classes):
            raise ValueError(f"background_index is {self.background_index}, none of the {self.num_classes} classes.")
        if self.top_k is not None and not 1 <= self.top_k <= self.num_classes:
            raise ValueError(f"top_k is {self.top_k}; it must lie between 1 and the {self.num_classes} classes.")

    def to_json(self) -> str:
        """Return the metadata of a file."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> "RegionInfo":
        """Return the information that `to_json` wrote; raise ValueError or TypeError for another text."""
        fields = json.loads(text)
        return cls(**fields | {"labels": tuple(fields["labels"])})

    def schema(self) -> "pa.Schema":
        """Return the columns of a file, without metadata."""
        import pyarrow as pa

        columns = {"image_id": pa.string(), "image_height": pa.int32(), "image_width": pa.int32()}
        columns |= {"boxes": pa.list_(pa.list_(pa.float32(), 4)), "features": pa.large_binary()}
        if self.num_classes:
            best = pa.struct({"ids": pa.large_binary(), "probs": pa.large_binary()})
            columns |= {"class_probs": best if self.top_k else pa.large_binary(), "background_index": pa.int32()}
        types = {np.int64: pa.list_(pa.int32()), np.float32: pa.list_(pa.float32())}
        return pa.schema(columns | {name: types[LABELS[name]] for name in LABELS if name in self.labels})

    def encode(self, row: Mapping[str, object]) -> StoredRow:
        """Return the stored form of a row of arrays, as `RowDecoder` gives it back.

        Raises:
            BadRowError: an array has another width or length than this says, a number is not finite, or boxes do not
                fit into the image (see `checks`).
        """
        size = check_image_size(row.get("image_height"), row.get("image_width"))
        if (size is None) != (self.box_unit == "normalized"):
            raise BadRowError("no image size", f"boxes are {self.box_unit} here, and the image has the size {size}")
        boxes = check_array("boxes", row.get("boxes"), np.float32, (-1, 4))
        stored: StoredRow = {"image_id": row.get("image_id")}
        stored |= dict(zip(("image_height", "image_width"), size or (None, None), strict=True))
        features = check_array("features", row.get("features"), np.float16, (len(boxes), self.feature_dim))
        stored |= {"boxes": list(check_boxes(boxes, size)), "features": _to_half(features).tobytes()}
        if self.num_classes:
            probs = check_array("class_probs", row.get("class_probs"), np.float32, (len(boxes), self.num_classes))
            probs = check_probabilities(probs)
            if row.get("background_index", self.background_index) != self.background_index:
                found = f"class {row['background_index']} is the background, in other images {self.background_index}"
                raise BadRowError("another background", found)
            stored |= {"class_probs": self._encode_probs(probs), "background_index": self.background_index}
        return stored | {name: check_array(name, row.get(name), LABELS[name], (len(boxes),)) for name in self.labels}

    def _encode_probs(self, probs: np.ndarray) -> bytes | dict[str, bytes]:
        import torch

        if self.top_k is None:
            return _to_half(probs).tobytes()
        best, ids = torch.from_numpy(probs).topk(self.top_k, dim=1)
        return {"ids": ids.numpy().astype("<u2").tobytes(), "probs": _to_half(best.numpy()).tobytes()}


@dataclass(frozen=True)
class RowDecoder:
    """Decoder of columns as they are stored into columns of arrays, one a row.

    `boxes` (n, 4) float32, `features` (n, d) float16, `class_probs` (n, c) float32, ids (n) int64, scores (n) float32.

    Args:
        torch: give tensors in place of arrays.
    """

    info: RegionInfo
    torch: bool = False

    def __call__(self, columns: dict[str, list]) -> dict[str, list]:
        """Return the columns with every array decoded; any choice of columns will do.

        Raises:
            BadRowError: with the cause "broken shard", for bytes that are not what the file says of them.
        """
        try:
            return {name: [self._decode(name, value) for value in values] for name, values in columns.items()}
        except (ValueError, LookupError, TypeError) as error:
            raise BadRowError("broken shard", f"its rows do not fit its description: {str(error)[:100]}") from error

    def _decode(self, name: str, value: Any) -> Any:
        if name == "boxes":
            array = np.array(value, np.float32).reshape(-1, 4)
        elif name == "features":
            array = np.frombuffer(value, "<f2").reshape(-1, self.info.feature_dim)
        elif name == "class_probs":
            array = self._decode_probs(value)
        elif name in LABELS:
            array = np.array(value, LABELS[name])
        else:
            return value
        if self.torch:
            import torch

            return torch.from_numpy(array if array.flags.writeable else array.copy())
        return array

    def _decode_probs(self, value: bytes | dict[str, bytes]) -> np.ndarray:
        width, top_k = self.info.num_classes, self.info.top_k
        if isinstance(value, bytes):
            return _from_half(value, width)
        assert top_k is not None  # only then are the best classes stored apart
        ids = np.frombuffer(value["ids"], "<u2").reshape(-1, top_k).astype(np.int64)
        best = _from_half(value["probs"], top_k)
        rest = np.maximum(1 - best.sum(axis=1, keepdims=True), 0) / max(width - top_k, 1)
        probs = np.repeat(rest, width, axis=1)
        np.put_along_axis(probs, ids, best, axis=1)
        return probs


# NumPy's own casts between these are up to 300 times as slow: most probabilities are subnormal in float16.
def _to_half(array: np.ndarray) -> np.ndarray:
    import torch

    return torch.from_numpy(array).half().numpy()


def _from_half(data: bytes, width: int) -> np.ndarray:
    import torch

    return torch.from_numpy(np.frombuffer(bytearray(data), "<f2")).float().numpy().reshape(-1, width)


__all__ = ["BOX_UNITS", "LABELS", "MAX_CLASSES", "METADATA_KEY", "RegionInfo", "RowDecoder", "StoredRow"]
