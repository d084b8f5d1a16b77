"""Rows of made-up regions for the tests of their files."""

import numpy as np
from wenlan.data.regions.schema import RegionInfo

INFO = RegionInfo(
    model_hash="abc",
    feature_dim=6,
    num_classes=5,
    background_index=0,
    labels=("object_ids", "object_scores", "attribute_ids", "attribute_scores"),
)


def random_row(name, *, count=3, seed=0, width=6, classes=5, size=(48, 64)):
    rng = np.random.default_rng([seed, count])
    probs = rng.random((count, classes)).astype(np.float32)
    return {
        "image_id": name,
        "image_height": size and size[0],
        "image_width": size and size[1],
        "boxes": np.sort(rng.random((count, 2, 2)) * (size or (1,))[0], axis=1).reshape(-1, 4).astype(np.float32),
        "features": rng.normal(size=(count, width)).astype(np.float16),
        "class_probs": probs / probs.sum(axis=1, keepdims=True),
        "background_index": 0,
        "object_ids": rng.integers(0, classes - 1, count),
        "object_scores": rng.random(count).astype(np.float32),
        "attribute_ids": rng.integers(0, 3, count),
        "attribute_scores": rng.random(count).astype(np.float32),
    }


def same(row, other, *, names=None, atol=0.0):
    """Whether two rows hold the same names and arrays."""
    names = names or row.keys() | other.keys()
    return all(
        np.array_equal(row[name], other[name])
        if row[name] is None or isinstance(row[name], str | int)
        else np.allclose(row[name], other[name], atol=atol, rtol=0)
        for name in names
    )
