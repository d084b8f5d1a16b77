"""The metrics, lists and images that compare spaces of words (figures 7-10)."""

import re
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from ...analysis.plots.fonts import font_files
from ...analysis.word_neighbors.antonyms import compare_ranks, median_ranks
from ...analysis.word_neighbors.graph import draw_neighborhoods
from ...analysis.word_neighbors.histogram import draw_histograms
from ...analysis.word_neighbors.images import rank_drops, visual_correlations
from ...analysis.word_neighbors.jaccard import extremes, jaccard, summarize
from ...analysis.word_neighbors.statistics import mean_interval, paired_test
from ...data.files.atomic import atomic_file
from ...evaluation.tables.table import register_fonts
from ..figure_run import write_csv
from .measure import CENTERED, PLAIN, Questions, Space
from .spaces import FURTHER, OTHER_SEED

SHOWN = 5  # neighbours beside a word of a list
PAPER = {
    "source": "WuDao-WenLan: What Do Very-Large Multimodal Pre-Training Models Bring?, section 3.1, figure 7",
    "words": 170_000,
    "RoBERTa / RoBERTa further trained on BriVL's texts": "a bell near 0.4",
    "RoBERTa further trained / WenLan": "mostly below 0.1",
    "not given": ["K", "the vocabulary", "how a word becomes a vector", "sizes of the models"],
}


def pair_name(one: Space, other: Space) -> str:
    """Return how a pair of spaces is called."""
    return f"{one.name} / {other.name}"


def compare_spaces(spaces: Sequence[Space], asked: Questions, *, reference: str) -> dict[str, object]:
    """Return the metrics of all pairs of spaces.

    Args:
        spaces: that are done.
        asked: of all of them.
        reference: name of the space of texts alone that others are compared with.
    """
    seed, words = asked.seed, len(asked.words)
    indices: dict[str, dict[str, dict]] = {}
    for one, other in combinations(spaces, 2):
        indices[pair_name(one, other)] = {
            kind: summarize(one.neighbors[kind], other.neighbors[kind], words=words, ks=asked.ks, seed=seed)
            for kind in (PLAIN, CENTERED)
        }
    before = {space.name: space for space in spaces}.get(reference)
    after = [space for space in spaces if space.name != reference and before]
    antonyms: dict[str, dict] = {}
    if len(asked.antonyms):
        for kind in (PLAIN, CENTERED):
            ranks = {space.name: space.antonyms[kind] for space in spaces}
            antonyms[kind] = {"ranks": median_ranks(ranks, words)}
            for space in after:
                antonyms[kind][f"{reference} / {space.name}"] = compare_ranks(
                    ranks[reference], ranks[space.name], space.control.get(kind), seed=seed
                )
    return {
        "jaccard": indices,
        "controls": next((space.controls for space in spaces if space.controls), {}),
        "antonyms": antonyms,
        "visual_similarity": _visual(spaces, before, after, asked),
        "paper_reference": PAPER,
    }


def _visual(
    spaces: Sequence[Space], before: Space | None, after: Sequence[Space], asked: Questions
) -> dict[str, dict[str, dict]]:
    found: dict[str, dict[str, dict]] = {}
    for concepts, images in asked.images.items():
        control, pairs = images.permute(seed=asked.seed), {"alike": images.pairs(alike=True)}
        pairs["unlike"] = images.pairs(alike=False)
        for kind in (PLAIN, CENTERED):
            rows = {space.name: space.names[concepts][kind] for space in spaces}
            values = {name: visual_correlations(own, images, control) for name, own in rows.items()}
            results: dict[str, dict] = {
                name: {
                    **mean_interval(own, seed=asked.seed),
                    "chance": 0.0,
                    "permuted": mean_interval(permuted, seed=asked.seed),
                }
                for name, (own, permuted) in values.items()
            }
            for space in after:
                assert before is not None
                gain = values[space.name][0] - values[before.name][0]
                changes: dict[str, object] = {"correlation": paired_test(gain, seed=asked.seed)}
                for name, drawn in pairs.items():
                    if len(drawn):
                        drops = rank_drops(rows[before.name], rows[space.name], drawn)
                        changes[f"rank drop, drawn {name}"] = paired_test(drops, seed=asked.seed)
                results[pair_name(before, space)] = changes
            found.setdefault(concepts, {})[kind] = results
    return found


def write_histogram(spaces: Sequence[Space], asked: Questions, folder: Path) -> None:
    """Write `figure7.png`, `jaccard.csv`, and `least_and_most_similar.csv`."""
    k = max(asked.ks)
    values = {
        pair_name(one, other): jaccard(one.neighbors[PLAIN], other.neighbors[PLAIN], k)
        for one, other in combinations(spaces, 2)
    }
    controls = next((space.controls for space in spaces if space.controls), {})
    means = {name: one[f"K={k}"]["mean"] for name, one in controls.items()}
    shown = {name: one for name, one in values.items() if OTHER_SEED not in name}
    if (repeated := values.get(f"{FURTHER} / {OTHER_SEED}")) is not None:
        means[OTHER_SEED] = float(repeated.mean())
    family = register_fonts(font_files())
    figure = draw_histograms(shown, means, k=k, words=len(asked.words), family=family)
    with atomic_file(folder / "figure7.png") as unfinished:
        figure.savefig(unfinished, format="png", dpi=130)
    names = [asked.words[index] for index in asked.queries]
    columns = [(asked.queries + 1).tolist(), names, *([f"{one:.4f}" for one in own] for own in values.values())]
    write_csv(folder / "jaccard.csv", ["rank", "word", *values], list(zip(*columns, strict=True)))
    rows: list[Sequence[object]] = []
    for one, other in combinations(spaces, 2):
        own = values[pair_name(one, other)]
        for kind, places in zip(("least", "most"), extremes(own, asked.queries), strict=True):
            for place in places.tolist():
                near = [
                    " ".join(asked.words[index] for index in space.neighbors[PLAIN][place, :SHOWN])
                    for space in (one, other)
                ]
                rank = int(asked.queries[place]) + 1
                rows.append([pair_name(one, other), kind, rank, names[place], f"{own[place]:.4f}", *near])
    header = ["pair", "similar", "rank", "word", "jaccard", "nearest in the first", "nearest in the second"]
    write_csv(folder / "least_and_most_similar.csv", header, rows)


def write_graphs(spaces: Sequence[Space], folder: Path, *, reference: str, seed: int) -> None:
    """Write `graph_WORD.png` for each word that is drawn, of the reference and what comes after, and `neighbours.csv`.

    The encoder alone is drawn where nothing comes after the reference.
    """
    shown = [space for space in spaces if space.name != OTHER_SEED]
    names = [space.name for space in shown]
    first = names.index(reference) if reference in names[:-1] else 0
    rows: list[Sequence[object]] = []
    for found in zip(*(space.neighborhoods for space in shown), strict=True):
        name = re.sub(r"\W+", "_", found[0].words[0])
        with atomic_file(folder / f"graph_{name}.png") as unfinished:
            draw_neighborhoods(found[first:], seed=seed).save(unfinished)
        for one in found:
            for place in range(1, len(one.words)):
                rows.append([one.words[0], one.space, place, one.words[place], f"{one.cosines[0, place]:.6f}"])
    write_csv(folder / "neighbours.csv", ["word", "space", "place", "neighbour", "cosine"], rows)


__all__ = ["PAPER", "compare_spaces", "pair_name", "write_graphs", "write_histogram"]
