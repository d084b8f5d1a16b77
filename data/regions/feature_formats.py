"""Region features as other programs left them, each as a row of arrays.

*BUA*: `x` (n, d), `bbox` (n, 4) in pixels, `image_h`, `image_w` and `info`, as bottom-up-attention.pytorch writes .npz
files. *UNITER*: `features` (n, d), `norm_bb` (n, 6 or 7: x1, y1, x2, y2, width, height and perhaps area, fractions of
the image), `conf` (n), `soft_labels` (n, c) with the background first, as UNITER and UC2 keep them in .npz files and
in LMDB. `norm_bb` is float16, so that a coordinate is right to about 1/2000 of the image, whose size is not kept.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..files.atomic import atomic_file
from ..rows.report import BadRowError
from .checks import check_array

Sizes = Mapping[str, tuple[int, int]]
OBJECT_FIELDS = {"objects_id": "object_ids", "objects_conf": "object_scores"}
ATTRIBUTE_FIELDS = {"attrs_id": "attribute_ids", "attrs_conf": "attribute_scores"}
INFO_FIELDS = OBJECT_FIELDS | ATTRIBUTE_FIELDS


def to_region_row(name: str, arrays: Mapping[str, np.ndarray], sizes: Sizes | None = None) -> dict[str, Any]:
    """Return the row of one image, as `RegionInfo.encode` takes it; what the file lacks, the row lacks.

    Args:
        name: becomes `image_id`.
        arrays: of a BUA or UNITER file.
        sizes: height and width of the images by the lower-case stem of their names, to bring `norm_bb` to pixels.

    Raises:
        BadRowError: the arrays are of neither kind, or the image has no size in `sizes`.
    """
    try:
        if {"x", "bbox"} <= arrays.keys():
            return {"image_id": name} | _from_bua(arrays)
        if {"features", "norm_bb"} <= arrays.keys():
            return {"image_id": name} | _from_uniter(name, arrays, sizes)
    except (TypeError, LookupError, AttributeError, ArithmeticError, ValueError) as error:
        if isinstance(error, BadRowError):
            raise
        raise BadRowError("not region features", f"{type(error).__name__}: {str(error)[:100]}") from error
    held = ", ".join(sorted(arrays))[:100]
    raise BadRowError("not region features", f"it holds {held}, neither x and bbox nor features and norm_bb")


def _from_bua(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    stored = arrays["info"].item() if "info" in arrays else {}
    info: dict[str, Any] = (stored if isinstance(stored, dict) else {}) | dict(arrays)
    row: dict[str, Any] = {"boxes": arrays["bbox"], "features": arrays["x"]}
    sides = (("image_h", "image_height"), ("image_w", "image_width"))
    row |= {name: np.asarray(info[key]).item() for key, name in sides}
    row |= {name: np.asarray(info[key]) for key, name in INFO_FIELDS.items() if key in info}
    if "soft_labels" in info:
        row |= {"class_probs": info["soft_labels"], "background_index": int(info.get("background_index", 0))}
    return row


def _from_uniter(name: str, arrays: Mapping[str, np.ndarray], sizes: Sizes | None) -> dict[str, Any]:
    boxes = check_array("norm_bb", arrays["norm_bb"], np.float32, (-1, -1))[:, :4]
    row: dict[str, Any] = {"image_height": None, "image_width": None, "features": arrays["features"]}
    if sizes is not None:
        size = sizes.get(Path(name).name.lower()) or sizes.get(Path(name).stem.lower())
        if size is None:
            raise BadRowError("no image size", f"{name} is not in the list of sizes")
        height, width = size
        boxes = boxes * np.array([width, height, width, height], np.float32)
        row |= {"image_height": height, "image_width": width}
    row["boxes"] = boxes
    if "soft_labels" in arrays:
        probs = check_array("soft_labels", arrays["soft_labels"], np.float32, (-1, -1))
        row |= {"class_probs": probs, "background_index": 0}
        row |= {"object_ids": probs[:, 1:].argmax(axis=1), "object_scores": probs[:, 1:].max(axis=1)}
    elif "conf" in arrays:
        row["object_scores"] = arrays["conf"]
    return row


def write_bua_npz(path: str | Path, row: Mapping[str, object]) -> None:
    """Write a row of `read_regions` as an .npz file with the names of BUA, but flat: nothing in it is pickled.

    `soft_labels` (n, c) and `background_index` hold the class distribution, which BUA's own files lack.
    """
    arrays: dict[str, object] = {"image_id": np.str_(row["image_id"]), "x": row["features"], "bbox": row["boxes"]}
    arrays["num_bbox"] = len(np.asarray(row["boxes"]))
    arrays |= {"image_h": row["image_height"], "image_w": row["image_width"]}
    arrays |= {key: row[name] for key, name in INFO_FIELDS.items() if name in row}
    if "class_probs" in row:
        arrays |= {"soft_labels": row["class_probs"], "background_index": row["background_index"]}
    with atomic_file(Path(path)) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **{name: np.asarray(array) for name, array in arrays.items()})


__all__ = ["Sizes", "to_region_row", "write_bua_npz"]
