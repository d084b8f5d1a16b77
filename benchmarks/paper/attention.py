"""Figure 6 at its full size: pointing and agreement of languages over several draws of the scenes, against their bars.

    python benchmarks/paper/attention.py --model runs/mlmm_tiny            # 5 x 100 scenes: minutes on 2 cores

The bars: in each language the region that a name attends to most is of its class at least twice as often as by chance;
a word is nearer to its translation than to another word in at least 80 % of the pairs; random weights and the sentence
of another image are at chance, which their 95 % intervals hold in all but few draws. They are for the last layer.
"""

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT)]

TIMES_CHANCE, CLOSER = 2.0, 0.8
CONTROLS = ("random_model", "other_sentence")


def print_draw(seed: int, metrics: dict) -> bool:
    """Print the metrics of a draw; return whether both bars are met."""
    languages = {language: row for language, row in metrics["pointing"].items() if language != "all"}
    total, similarity = metrics["pointing"]["all"], metrics["similarity"]
    lowest = min(languages, key=lambda language: languages[language]["times_chance"])
    times = languages[lowest]["times_chance"]
    print(f"seed {seed}: {total['words']} words, chance {total['chance']:.3f}, all {total['accuracy']:.3f}")
    print("  " + "  ".join(f"{language} {row['accuracy']:.3f}" for language, row in languages.items()))
    print(f"  the lowest, {lowest}, is {times:.2f} x chance (bar {TIMES_CHANCE})")
    for name in CONTROLS:
        low, high = total[name]["interval"]
        holds = "holds" if low <= total["chance"] <= high else "misses"
        print(f"  {name} {total[name]['accuracy']:.3f}, interval {low:.3f} to {high:.3f} {holds} chance")
    print(
        f"  nearer to the translation {similarity['fraction']:.3f} (bar {CLOSER}; random weights "
        f"{similarity['random_model']['fraction']:.3f}); {similarity['translations']:.3f} bits between translations, "
        f"{similarity['different_words']:.3f} between different words"
    )
    return times >= TIMES_CHANCE and similarity["fraction"] >= CLOSER


def main() -> None:
    """Run the command with each seed, and fail if a bar is missed."""
    from wenlan.training_scripts.figures.attention import AttentionArguments, run

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="runs/mlmm_tiny")
    parser.add_argument("--detector", help="if not the model's own")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    met = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(given.seeds):
            options = {"model": given.model, "detector": given.detector, "scenes": given.scenes, "seed": seed}
            met.append(print_draw(seed, run(AttentionArguments(**options, output_dir=str(Path(folder) / str(seed))))))
    print(f"Both bars are met in {sum(met)} of {len(met)} draws.")
    if not all(met):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
