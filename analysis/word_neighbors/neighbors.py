"""Exact nearest neighbours by cosine: the same on every machine and for every size of the chunks."""

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

CHUNK, RESCORED = 256, 2  # queries at a time: of the float32 product, and of the exact one, which is to fit the cache
MARGIN = 16  # candidates beyond k


def nearest_neighbors(
    rows: np.ndarray, queries: np.ndarray, k: int, *, device: str = "cpu", progress: str | None = None
) -> np.ndarray:
    """Return (q, k) int32 indices of the rows nearest to some of them, the nearest first, itself left out.

    Candidates are found by float32 products, whose last digits depend on the machine, and ordered by products in
    float64; equal ones by the lower index. A row whose candidates might not be enough gets more.

    Args:
        rows: (n, d) float32 unit rows.
        queries: (q,) indices.
        k: neighbours.
        device: of the products.
        progress: text of a bar; None: no bar.

    Raises:
        ValueError: `k` is not less than the number of rows.
    """
    count, width = rows.shape
    if k >= count:
        raise ValueError(f"{count} words have {count - 1} neighbours each, not {k}: give a smaller k.")
    table, wide = torch.from_numpy(rows).to(device), min(k + MARGIN, count - 1)
    error = width * 2.0**-24  # bound of a float32 product of unit rows
    found = np.empty((len(queries), k), np.int32)
    with tqdm(total=len(queries), desc=progress, disable=progress is None) as bar:
        for start in range(0, len(queries), CHUNK):
            own = torch.from_numpy(queries[start : start + CHUNK]).long().to(device)
            scores = table[own] @ table.T  # (c, n)
            scores[torch.arange(len(own), device=device), own] = -torch.inf
            values, candidates = scores.topk(wide)
            best, exact = _order(table, own, candidates, k)
            outside = torch.full_like(values[:, -1], -torch.inf) if wide == count - 1 else values[:, -1]
            for row in (exact[:, k - 1] <= outside + error).nonzero()[:, 0].tolist():
                more = (scores[row] >= values[row, k - 1] - 2 * error).nonzero()[None, :, 0]
                best[row] = _order(table, own[row : row + 1], more, k)[0][0]
            found[start : start + len(own)] = best.cpu().numpy()
            bar.update(len(own))
    return found


def _order(table: Tensor, own: Tensor, candidates: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k nearest of the candidates (c, m) of each query, and their exact scores, both (c, k)."""
    candidates, parts = candidates.sort(dim=1).values, []
    for rows, names in zip(own.split(RESCORED), candidates.split(RESCORED), strict=True):
        parts.append((table[names].double() * table[rows].double()[:, None]).sum(dim=2))
    scores, places = torch.cat(parts).sort(dim=1, descending=True, stable=True)
    return candidates.gather(1, places[:, :k]), scores[:, :k]


def draw_queries(count: int, number: int | None, *, seed: int = 0) -> np.ndarray:
    """Return (q,) sorted indices of so many words drawn at random of `count`, or of all."""
    if number is None or number >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, number, replace=False))


__all__ = ["draw_queries", "nearest_neighbors"]
