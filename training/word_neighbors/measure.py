"""One space of words: its nearest neighbours, the ranks of antonyms, and the names of things that have drawings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...analysis.word_neighbors.antonyms import others_as_near, pair_ranks
from ...analysis.word_neighbors.controls import permute, random_like, rotate
from ...analysis.word_neighbors.graph import Neighborhood
from ...analysis.word_neighbors.images import NamedImages
from ...analysis.word_neighbors.jaccard import summarize
from ...analysis.word_neighbors.neighbors import nearest_neighbors
from ...analysis.word_neighbors.vectors import WordEncoder, center_rows, to_unit_rows
from ...data.files.atomic import atomic_file
from ...data.files.hashing import hash_json

PLAIN, CENTERED = "plain", "centred"
IN_GRAPH = 30  # neighbours of a word
CONTROL_QUERIES = 2000


@dataclass(frozen=True, eq=False)
class Questions:
    """Words and names that every space is asked about.

    Attributes:
        words: of the vocabulary.
        queries: (q,) indices of words whose neighbours are compared.
        ks: numbers of neighbours.
        graphs: indices of words whose neighbours are drawn.
        antonyms: (p, 2) indices.
        others: by "plain" and "centred", (p, 2) indices of `others_as_near` in the reference; none before it is known.
        images: by "seen" and "held", names that have drawings.
        cache: folder of vectors and neighbours.
        device: of products.
        seed: of the controls.
    """

    words: Sequence[str]
    queries: np.ndarray
    ks: Sequence[int]
    graphs: Sequence[int]
    antonyms: np.ndarray
    images: dict[str, NamedImages]
    cache: Path
    device: str = "cpu"
    seed: int = 0
    others: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(eq=False)
class Space:
    """The answers of a space, by "plain" and "centred".

    Attributes:
        name: of the encoder.
        digest: of its weights.
        dimensions: of its vectors.
        neighbors: (q, k) indices.
        neighborhoods: of the words whose neighbours are drawn; plain.
        antonyms: (p,) ranks.
        others: (p, 2) indices; of the reference.
        control: (p,) ranks of the reference's `others`; of spaces that come after it.
        names: by "seen" and "held", (n, d) unit rows.
        controls: by name; of one space alone.
    """

    name: str
    digest: str
    dimensions: int
    neighbors: dict[str, np.ndarray] = field(default_factory=dict)
    neighborhoods: list[Neighborhood] = field(default_factory=list)
    antonyms: dict[str, np.ndarray] = field(default_factory=dict)
    others: dict[str, np.ndarray] = field(default_factory=dict)
    control: dict[str, np.ndarray] = field(default_factory=dict)
    names: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    controls: dict[str, dict] = field(default_factory=dict)


def measure_space(encoder: WordEncoder, asked: Questions, *, is_reference: bool) -> Space:
    """Return what a space answers; vectors and neighbours that were stored are not made again.

    Raises:
        ValueError: a vector is zero or not finite.
        RuntimeError: a weight of the encoder has changed.
    """
    rows = to_unit_rows(encoder.embed(asked.words, asked.cache / "vectors", progress=True), asked.words)
    space, k = Space(encoder.name, encoder.digest, rows.shape[1]), max(asked.ks)
    key = hash_json([list(asked.words), asked.queries.tolist(), k])
    for kind in (PLAIN, CENTERED):
        if kind == CENTERED:
            rows = center_rows(rows, asked.words)
        file = asked.cache / "neighbors" / encoder.key / f"{key}-{kind}.npy"
        if not file.is_file():
            text = f"neighbours: {encoder.name}, {kind}"
            found = nearest_neighbors(rows, asked.queries, k, device=asked.device, progress=text)
            with atomic_file(file) as unfinished:
                np.save(unfinished, found)
        space.neighbors[kind] = np.load(file)
        space.antonyms[kind] = pair_ranks(rows, asked.antonyms, asked.antonyms[:, ::-1])
        if is_reference:
            space.others[kind] = others_as_near(rows, asked.antonyms)
        elif asked.others:
            space.control[kind] = pair_ranks(rows, asked.antonyms, asked.others[kind])
        if kind == PLAIN:
            space.neighborhoods = [_neighborhood(rows, index, asked, encoder.name) for index in asked.graphs]
            if is_reference:
                space.controls = _controls(rows, space.neighbors[kind], asked)
    for concepts, images in asked.images.items():
        plain = to_unit_rows(encoder.embed(images.names, asked.cache / "vectors"), images.names)
        space.names[concepts] = {PLAIN: plain, CENTERED: center_rows(plain.copy(), images.names)}
    return space


def _neighborhood(rows: np.ndarray, index: int, asked: Questions, name: str) -> Neighborhood:
    found = nearest_neighbors(rows, np.array([index]), min(IN_GRAPH, len(rows) - 1), device=asked.device)
    own = [index, *found[0].tolist()]
    return Neighborhood(name, [asked.words[one] for one in own], rows[own].astype(np.float64) @ rows[own].T)


def _controls(rows: np.ndarray, neighbors: np.ndarray, asked: Questions) -> dict[str, dict]:
    """Return by control the Jaccard indices of a space and of what was made of it, of some of the queries."""
    some = np.linspace(0, len(asked.queries) - 1, min(CONTROL_QUERIES, len(asked.queries))).astype(int)
    own, k, found = neighbors[some], max(asked.ks), {}
    made = {
        "itself": lambda: rows,
        "rotated": lambda: rotate(rows, seed=asked.seed),
        "random": lambda: random_like(rows, seed=asked.seed),
        "rows permuted": lambda: permute(rows, seed=asked.seed),
    }
    for name, make in made.items():
        text = f"control: {name}"
        others = nearest_neighbors(make(), asked.queries[some], k, device=asked.device, progress=text)
        found[name] = summarize(own, others, words=len(rows), ks=asked.ks, seed=asked.seed)
    return found


__all__ = ["CENTERED", "IN_GRAPH", "PLAIN", "Questions", "Space", "measure_space"]
