"""Small indexes, and what has to hold of one at any time."""

from pathlib import Path

import numpy as np
from PIL import Image
from wenlan.retrieval.search import SearchEngine
from wenlan.retrieval.store.folder import IndexFolder


def write_images(folder: Path, count: int = 6, start: int = 0) -> Path:
    """Writes images of noise, each of its own; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(start, start + count):
        noise = np.random.default_rng(index).integers(0, 256, (20 + index % 3, 24, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{index:03}.png")
    return folder


def ids_of(folder: Path) -> list[str]:
    """Returns the ids of the rows, in the order of their keys."""
    return IndexFolder.open(folder).read(["id"])["id"].to_pylist()


def check_index(folder: Path) -> list[str]:
    """Returns the ids; every row is there once, and a search over everything finds each of them by its vector."""
    rows = IndexFolder.open(folder).read()
    found = rows["id"].to_pylist()
    assert len(set(found)) == len(found) == IndexFolder.open(folder).manifest.rows
    engine = SearchEngine.open(folder)
    assert len(engine) == len(found)
    if found:
        vectors = np.array(rows["embedding"].to_pylist(), np.float32)
        hits = engine.search_vectors(vectors[:1], k=len(found) + 5)[0]
        assert {hit.id for hit in hits} == set(found)
        scores = dict(zip(found, vectors @ vectors[0], strict=True))
        np.testing.assert_allclose([hit.score for hit in hits], [scores[hit.id] for hit in hits], atol=1e-5)
    return found
