"""Rows of a vector index, and a brute force over their embeddings."""

import numpy as np
import pyarrow as pa
from wenlan.retrieval.filters import Filter

N, DIM = 10_000, 32


def unit_rows(count, seed, dim=DIM):
    rows = np.random.default_rng(seed).standard_normal((count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


VECTORS = unit_rows(N, seed=0)
VECTORS[6_000:6_030] = VECTORS[77]  # equal scores
QUERIES = np.concatenate([VECTORS[[77, 5, 9_999]], unit_rows(13, seed=1)]).astype(np.float32)


def make_rows(keys, *, vectors=VECTORS, text="first"):
    """Returns rows whose embeddings stand in a table at their keys."""
    keys = np.asarray(keys, np.int64)
    columns = {
        "key": keys,
        "id": [f"image {key}" for key in keys],
        "embedding": pa.FixedSizeListArray.from_arrays(vectors[keys].ravel(), vectors.shape[1]),
        "path": [f"{'ab'[key % 2]}/{key}.png" for key in keys],
        "size": keys,
        "lang": pa.array([("zh", "en", None)[key % 3] for key in keys], pa.string()),
        "text": pa.array([text if key % 4 else None for key in keys], pa.string()),
        "checked": keys % 5 == 0,
    }
    return pa.table(columns)


def assert_best(index, rows, *, k, where=None, queries=QUERIES):
    """The answers are those of a brute force over the embeddings of `rows`, equal vectors in the order of keys."""
    condition = where and Filter.parse(where)
    scores, keys = index.search(queries, k, where=condition)
    left = rows.filter(condition.to_arrow()) if condition else rows
    left = left.sort_by("key")
    width = min(k, len(left))
    assert scores.shape == keys.shape == (len(queries), k)
    assert (scores.dtype, keys.dtype) == (np.float32, np.int64)
    assert (keys[:, width:] == -1).all()
    assert np.isneginf(scores[:, width:]).all()
    stored = left["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(len(left), -1)
    exact = np.einsum("qd,nd->qn", queries.astype(np.float64), stored.astype(np.float64))
    order = np.argsort(-exact, axis=1, kind="stable")[:, :width]
    best = np.take_along_axis(exact, order, 1)
    np.testing.assert_allclose(scores[:, :width], best, atol=1e-5)
    expected, found = left["key"].to_numpy()[order], keys[:, :width]
    swapped = expected != found  # two scores may be nearer than 32-bit floats tell
    rank = np.searchsorted(left["key"].to_numpy(), found)
    np.testing.assert_allclose(np.take_along_axis(exact, rank, 1)[swapped], best[swapped], rtol=0, atol=1e-6)
    assert (np.abs(np.take_along_axis(exact, rank, 1) - best)[swapped] > 0).all()  # equal vectors are never swapped
    assert all(len(set(row)) == width for row in found.tolist())


def clustered_rows(count, seed=0):
    """Real embeddings lie in groups, unlike uniform ones, in whose neighbourhoods no list of vectors lies alone."""
    centers = unit_rows(40, seed=3).astype(np.float32)
    rng = np.random.default_rng(seed)
    rows = centers[rng.integers(0, 40, count)] + 0.1 * rng.standard_normal((count, DIM)).astype(np.float32)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
