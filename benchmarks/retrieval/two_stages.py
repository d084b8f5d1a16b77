"""Sentences that position decides: does an MLMM tell twins apart, and what does re-ranking with it bring?

    python benchmarks/retrieval/two_stages.py twins runs/mlmm_tiny runs/retrieval_relations
    python benchmarks/retrieval/two_stages.py bars runs/twins_index --rerank runs/retrieval_relations

Data and models as in recipe retrieval_relations; `runs/twins_index` is `wenlan index build runs/twins/test/images` with
a BriVL. `twins`: percent of the sentences that score higher with their scene than with its mirrored twin, chance 50.
`bars`: the curve of `wenlan hybrid-curve` with N/5 candidates: R@1 must rise by 10 points, with at most a fifth of the
forwards.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from wenlan.data import LANGUAGES, read_regions
from wenlan.evaluation.vqa.report import image_interval
from wenlan.modeling_mlmm import MLMMForImageTextRetrieval
from wenlan.pipelines.pair_scoring import PairScorer
from wenlan.processing import MLMMProcessor
from wenlan.training_scripts.figures.hybrid_curve import main as hybrid_curve

MIN_GAIN, MAX_FRACTION = 10, 0.2


def twin_accuracy(model: str, captions: Path, regions: Path) -> tuple[float, list[float], int]:
    """Return percent, 95 % interval over scenes, and number of the first sentences of scenes and twins."""
    opened, processor = (kind.from_pretrained(model) for kind in (MLMMForImageTextRetrieval, MLMMProcessor))
    stored = {row["image_id"]: row for row in read_regions(regions)}
    rows = [json.loads(line) for line in captions.read_text("utf-8").splitlines()]
    right, scenes = [], []
    for scene, pair in enumerate(zip(rows[::2], rows[1::2], strict=True)):
        scorer = PairScorer(opened, processor, [stored[Path(row["image"]).name] for row in pair])
        scores = scorer([row["text"][0] for row in pair])
        right += [scores[0, 0] > scores[0, 1], scores[1, 1] > scores[1, 0]]
        scenes += [scene, scene]
    hits = 100 * np.array(right, float)
    return float(hits.mean()), image_interval(hits, np.array(scenes)), len(hits)


def compare_twins(args: argparse.Namespace) -> int:
    """Print the accuracy of each model in each language."""
    for model in args.model:
        for language in args.language:
            accuracy, (low, high), count = twin_accuracy(model, args.twins / f"captions_{language}.jsonl", args.regions)
            print(f"{model}  {language}  {accuracy:.1f} ({low:.1f} to {high:.1f}), {count} sentences", flush=True)
    return 0


def check_bars(args: argparse.Namespace) -> int:
    """Print the curve and whether it meets the bars."""
    missed = 0
    for language in args.language:
        queries, total = args.twins / f"captions_{language}.jsonl", len(read_regions(args.regions))
        options = {"rerank": args.rerank, "regions": args.regions, "queries": queries, "language": language}
        options |= {
            "k": total // 5,
            "max_queries": args.max_queries,
            "timed_queries": args.timed_queries,
            "output_dir": args.output / language,
        }
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        folder = hybrid_curve([str(args.index), *words])
        first, fifth, _ = json.loads((folder / "metrics.json").read_text("utf-8"))["points"]
        gain, fraction = fifth["r1"] - first["r1"], fifth["forwards"] / total
        is_met = gain >= MIN_GAIN and fraction <= MAX_FRACTION and fifth["r1"] <= fifth["candidate_recall"]
        missed += not is_met
        print(f"{language}: R@1 {first['r1']:.1f} -> {fifth['r1']:.1f} ({gain:+.1f}, bar +{MIN_GAIN}),", end=" ")
        print(f"{fraction:.0%} of the forwards (bar {MAX_FRACTION:.0%}): {'met' if is_met else 'MISSED'}", flush=True)
    return missed


def main() -> int:
    """Return 0 if all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(required=True)
    twins, bars = kinds.add_parser("twins"), kinds.add_parser("bars")
    twins.add_argument("model", nargs="+")
    twins.set_defaults(run=compare_twins)
    bars.add_argument("index", type=Path)
    bars.add_argument("--rerank", required=True)
    bars.add_argument("--max_queries", type=int, default=300)
    bars.add_argument("--timed_queries", type=int, default=30)
    bars.add_argument("--output", type=Path, default=Path("runs/two_stages"))
    bars.set_defaults(run=check_bars)
    for kind in (twins, bars):
        kind.add_argument("--twins", type=Path, default=Path("runs/twins/test"))
        kind.add_argument("--regions", type=Path, default=Path("runs/twin_regions/test"))
        kind.add_argument("--language", nargs="+", default=["en", "zh"], choices=LANGUAGES)
    args = parser.parse_args()
    return args.run(args)


if __name__ == "__main__":
    sys.exit(main())
