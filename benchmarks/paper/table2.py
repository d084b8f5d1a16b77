"""Table 2 and the colour of the named thing, against their bars; one thread, an hour or two for two small models.

    export WENLAN_FEWCLUE=FewCLUE/datasets/csldcp
    python benchmarks/paper/table2.py runs/brivl_tiny runs/brivl_small --context_length 0

Other options are those that both tasks of `wenlan table2` have. A run that was stopped goes on.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from wenlan.evaluation.few_shot.colour import colour_accuracies, coloured_names
from wenlan.pipelines.open_brivl import open_brivl
from wenlan.training.few_shot.colour_task import ImagesOfConcepts
from wenlan.training_scripts.table2 import main as make_table

# of TF-IDF on the same files, counted apart from this package
FLOORS = {"one sample": 18.1, "label name": 23.0, "sample + label name": 29.4, "centroid of all samples": 44.2}
FLOOR_BAR, CHANCE_BAR, COLOUR_BAR, PERMUTED_BAR = 1.5, 3.0, 10.0, 5.0  # percentage points


def make(models: list[str], others: list[str], folder: Path, task: str) -> dict:
    """Return the metrics of a task."""
    options = ["--task", task, "--output_dir", str(folder / task), "--resume"]
    return json.loads((make_table([*models, *others, *options]) / "metrics.json").read_text("utf-8"))


def colour_by_images(model: str, draws: int) -> float:
    """Return the macro accuracy in percent where images of the things stand in for all names: what images can teach."""
    concepts = coloured_names()
    images = ImagesOfConcepts(*open_brivl(model))(concepts.concept_ids)
    return 100 * float(np.mean(colour_accuracies(concepts, images, None, draws=draws)["text only"]))


def report(what: str, value: float, bar: str, *, is_met: bool) -> None:
    """Print a row of RESULTS.md."""
    print(f"| {what} | {value:.2f} | {bar}{'' if is_met else ', **missed**'} |")


def main() -> None:
    """Make both tables and print what was measured beside its bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="folders of BriVLs")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/benchmark_table2"))
    args, others = parser.parse_known_args()
    torch.set_num_threads(1)
    # the short one first: it refuses options that only the other has before hours have passed
    colour, csldcp = (make(args.models, others, args.output_dir, task) for task in ("colour", "csldcp"))
    print("\n| | measured | bar |\n|---|---|---|")
    for name, wanted in FLOORS.items():
        found = csldcp["results"]["TF-IDF"][f"nearest: {name}"]["mean"]
        report(f"TF-IDF, {name}", found, f"{wanted} ± {FLOOR_BAR}", is_met=abs(found - wanted) <= FLOOR_BAR)
    for name, row in csldcp["results"]["untrained tower"].items():
        limit = csldcp["floors"]["chance"] + CHANCE_BAR
        report(f"untrained tower, {name}", row["mean"], f"at most {limit:.1f}", is_met=row["mean"] <= limit)
    alone = colour["results"]["encoder alone"]["text only"]["mean"]
    for model in map(Path, args.models):
        rows = colour["results"][model.name]
        most = colour_by_images(str(model), colour["n"]["draws"]) - alone
        print(f"| colour, {model.name}: images in place of names, minus encoder | {most:.2f} | |")
        gain, margin = rows["text only"]["mean"] - alone, rows["both"]["minus_permuted"]["mean"]
        report(f"colour, {model.name}: text tower minus encoder", gain, "at least 10", is_met=gain >= COLOUR_BAR)
        report(f"colour, {model.name}: both minus permuted", margin, "at least 5", is_met=margin >= PERMUTED_BAR)


if __name__ == "__main__":
    main()
