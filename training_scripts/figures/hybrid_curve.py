"""Quality against latency of two-stage retrieval: an index finds k candidates, an MLMM puts them in order.

    wenlan index build runs/twins/test/images --output runs/twins_index --model runs/brivl_scenes
    wenlan hybrid-curve runs/twins_index --rerank runs/retrieval_relations --regions runs/twin_regions/test \\
        --queries runs/twins/test/captions_en.jsonl
    wenlan hybrid-curve runs/twins_index ... --weight 0.3       # 0.3 z(BriVL) + 0.7 z(MLMM) in place of MLMM alone

A query is a caption of one image, its only right answer. The pure models are the ends of the curve: no candidates, and
all. Writes quality_vs_latency.png, hybrid_curve.csv and metrics.json. Latencies are measured in turn in one process and
are of this machine; their ratios say more.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ...analysis.plots.quality_latency import draw_quality_latency
from ...data.captions.text_corpus import CaptionSource
from ...data.files.atomic import atomic_file
from ...data.regions.lookup import RegionFinder
from ...evaluation.vqa.report import image_interval
from ...retrieval.hybrid import KS, HybridPoint, hybrid_curve
from ...retrieval.rerank import Reranker
from ...retrieval.search import SearchEngine
from ...training.figure_run import FigureArguments, figure_folder, run_figure, write_csv
from ...training.recipe_options import option

CURVE, TABLE = "quality_vs_latency.png", "hybrid_curve.csv"
PIECE = 1000  # rows of the file of queries at a time


@dataclass
class HybridCurveArguments(FigureArguments):
    """The index, the model of the second stage, and queries."""

    index: str = option("", "folder of wenlan index build; the first word")
    rerank: str = option("", "folder or hub id of an MLMM")
    queries: str = option("", "file of pairs, such as captions_en.jsonl: each caption is to find its image")
    language: str = option("en", "of the captions")
    regions: list[str] = option([], "folders of wenlan extract-regions, beside those of the index")
    detector: str | None = option(None, "of images without regions; by default the one that the MLMM names")
    k: list[int] = option(list(KS), "numbers of candidates")
    weight: float | None = option(
        None, "of the first stage's standardised score; by default MLMM decides alone", low=0, high=1
    )
    max_queries: int = option(0, "the first so many; 0: all", low=0)
    timed_queries: int = option(50, "of these", low=1)
    output_dir: str = option("runs/hybrid_curve", "for the curve, the table and metrics")


def main(argv: Sequence[str] | None = None) -> Path:
    """Make the figure; return its folder.

    Raises:
        SystemExit: with 130 after Ctrl-C.
        ValueError: options or data are bad.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words and not words[0].startswith("-"):
        words.insert(0, "--index")
    return run_figure(HybridCurveArguments, run, words, command="wenlan hybrid-curve")


def run(options: HybridCurveArguments) -> dict[str, object]:
    """Measure the curve, write all files into `output_dir`, and return what is in `metrics.json`.

    Raises:
        FileNotFoundError: no such model, folder or file.
        ImportError: matplotlib is missing.
        ValueError: options or data are bad, or `output_dir` holds another figure.
    """
    if missing := [name for name in ("index", "rerank", "queries") if not getattr(options, name)]:
        raise ValueError(f"Give the folder of an index, --rerank and --queries; {' and '.join(missing)} is missing.")
    if find_spec("matplotlib") is None:
        raise ImportError("The curve is drawn with matplotlib: pip install 'wenlan[demo]'.")
    engine = SearchEngine.open(options.index, device=options.device)
    if engine.folder.manifest.kind != "images":
        raise ValueError(f"{options.index} is an index of sentences; give one of images.")
    rows = engine.folder.read(["id", "path"]).to_pylist()
    ids = {str((engine.folder.base / row["path"]).resolve()): row["id"] for row in rows}
    texts, right = read_queries(options, ids)
    with figure_folder(options) as (folder, metrics):
        reranker = Reranker.from_pretrained(
            options.rerank,
            index=options.index,
            regions=options.regions,
            detector=options.detector,
            device=engine.device,
        )
        paths: dict[str, Path | None] = {}

        def first_stage(query: int, number: int) -> tuple[np.ndarray, list[str]]:
            hits = engine.search(text=texts[query], k=number)
            paths.update((hit.id, hit.path) for hit in hits)
            return np.array([hit.score for hit in hits]), [hit.id for hit in hits]

        def second_stage(query: int, images: list[str]) -> np.ndarray:
            return reranker(texts[query], images, [paths[image] for image in images])

        points, ranks = hybrid_curve(
            first_stage,
            second_stage,
            right,
            total=len(ids),
            ks=options.k,
            weight=options.weight,
            timed_queries=options.timed_queries,
            count_forwards=lambda: reranker.forwards,
            progress=partial(print, file=sys.stderr),
        )
        write_curve(points, folder, title=f"{len(right)} queries, {len(ids)} images")
        metrics |= {"images": len(ids), "queries": len(right), "timed_queries": min(options.timed_queries, len(right))}
        metrics |= {"points": [asdict(point) for point in points], "unscored": dict(reranker.unscored)}
        hits = 100.0 * (ranks == 0)
        metrics["r1_interval"] = {
            point.k: image_interval(hits[:, at], np.array(right)) for at, point in enumerate(points)
        }
    print(f"\nCurve: {folder / CURVE}, table: {folder / TABLE}")
    return metrics


def read_queries(options: HybridCurveArguments, ids: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return the texts, and of each the id of its image; `ids` are by the path of the image, or the end of it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a caption is of no image of the index, or there is none.
    """
    source = CaptionSource(Path(options.queries), options.language, PIECE)
    folder, known = Path(options.queries).parent.resolve(), list(ids.values())
    finder = RegionFinder({path: at for at, path in enumerate(ids)}, source.source)
    texts: list[str] = []
    right: list[str] = []
    for row in (row for piece in source for row in piece):
        place = finder.find(str(folder / row.image))
        if place < 0:
            raise ValueError(f"{options.queries}: {row.image} is not among the {len(ids)} rows of {options.index}.")
        texts += row.captions
        right += [known[place]] * len(row.captions)
    return texts[: options.max_queries or None], right[: options.max_queries or None]


def write_curve(points: Sequence[HybridPoint], folder: Path, *, title: str) -> None:
    """Write the curve and the table of its points."""
    write_csv(folder / TABLE, HybridPoint.names(), map(astuple, points))
    labels = ["first stage", *(str(point.k) for point in points[1:-1]), f"{points[-1].k}: MLMM"]
    lines = {
        "R@1": [point.r1 for point in points],
        "R@10": [point.r10 for point in points],
        "recall of the candidates": [point.candidate_recall for point in points],
    }
    figure = draw_quality_latency(labels, [point.p50_ms for point in points], lines, title=title)
    with atomic_file(folder / CURVE) as unfinished:
        figure.savefig(unfinished, format="png", dpi=120)
    header = ("k", "R@1", "R@5", "R@10", "MRR", "bound", "forwards", "p50 ms", "p95 ms", "times")
    print(" ".join(f"{name:>8}" for name in header))
    for point in points:
        print(" ".join(f"{value:8.1f}" if isinstance(value, float) else f"{value:8}" for value in astuple(point)))


__all__ = ["HybridCurveArguments", "main", "read_queries", "run", "write_curve"]

if __name__ == "__main__":
    main()
