"""The tables and the figure of `docs/scale.md`, from the rates in `rates.json`.

    python benchmarks/retrieval/bulk.py rates runs/quickstart --output benchmarks/retrieval/rates.json
    python benchmarks/retrieval/scale.py                # writes the tables into docs/scale.md, and the figure

A table stands between `<!-- table NAME -->` and `<!-- end -->`; the rest of the page is written by hand.
"""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE, FIGURE = ROOT / "docs" / "scale.md", ROOT / "docs" / "images" / "scale.png"
RATES: dict[str, float] = json.loads(Path(__file__).with_name("rates.json").read_text("utf-8"))["per_core_second"]

PAIRS, MULTILINGUAL_IMAGES, MULTILINGUAL_TEXTS = 650e6, 30e6, 210e6
DIMS = {"512": 512, "2560": 2560}
ROW_BYTES = 100  # of a shard beside the embedding: id, path, size, time; assumed
REGIONS, FEATURES, TOP_K = 36, 2048, 100  # regions of an image on average: assumed
REGION_BYTES = REGIONS * (2 * FEATURES + 4 * 4 + TOP_K * 4 + 4 * 8)  # features, box, classes, labels; see data/regions
NODE_GB, NODE_FILL = 256, 0.7  # memory of a Milvus query node, and how much of it vectors may take: assumed
CORES = 1000
NAMES = {
    "decode": "read and decode a JPEG file, 640 x 480",
    "demo_image": "image, demo BriVL (160 px), decoding included",
    "demo_sentence": "sentence, demo BriVL",
    "brivl_1.0_image": "image, BriVL 1.0 (380 px, grid)",
    "brivl_1.0_sentence": "sentence, BriVL 1.0, 20 tokens",
    "brivl_2.0_image": "image, BriVL 2.0 as `from_variant` has it (600 px)",
    "brivl_2.0_sentence": "sentence, BriVL 2.0, 20 tokens",
    "detector_image": "image, detector of bottom-up attention, 600 x 800",
    "mlmm_pair": "pair, MLMM base, 20 tokens and 36 regions",
}


def index_bytes(kind: str, dim: int) -> int:
    """Return the bytes of a vector in an index: its code, and the 8 bytes of its key in an inverted list."""
    return {"fp16": 2 * dim, "SQ8": dim + 8, "PQ": dim // 8 + 8}[kind]


def number(value: float) -> str:
    """Return three digits of a number, with commas."""
    digits = max(0, 2 - math.floor(math.log10(value)))
    return f"{float(f'{value:.3g}'):,.{digits}f}"


def rates_table() -> list[list[str]]:
    """Return what a core does in a second."""
    return [["what", "a second and core (measured)"], *([NAMES[name], number(rate)] for name, rate in RATES.items())]


def hours_table() -> list[list[str]]:
    """Return the core hours of embedding, finding regions and scoring."""
    days = f"days of {CORES:,} cores (extrapolated)"
    table = [["work", "items", "a second and core (measured)", "core hours (extrapolated)", days]]
    for work, items, name in (
        ("decode the images of the pairs", PAIRS, "decode"),
        ("embed the images, demo BriVL", PAIRS, "demo_image"),
        ("embed the images, BriVL 1.0", PAIRS, "brivl_1.0_image"),
        ("embed the images, BriVL 2.0", PAIRS, "brivl_2.0_image"),
        ("embed the sentences, BriVL 2.0", PAIRS, "brivl_2.0_sentence"),
        ("regions of the multilingual images", MULTILINGUAL_IMAGES, "detector_image"),
        ("score every multilingual pair once, MLMM", MULTILINGUAL_TEXTS, "mlmm_pair"),
    ):
        hours = items / RATES[name] / 3600
        cells = [f"{items / 1e6:,.0f} M", number(RATES[name]), number(hours), number(hours / CORES / 24)]
        table.append([work, *cells])
    return table


def storage_table() -> list[list[str]]:
    """Return the disk space of shards."""
    table = [["what", "rows", "bytes a row", "TB (extrapolated)"]]
    for dim in DIMS.values():
        table.append([f"embeddings of the images of the pairs, {dim} x 16 bit", PAIRS, 2 * dim + ROW_BYTES])
    table.append(["embeddings of the sentences of the pairs, 2560 x 16 bit", PAIRS, 2 * 2560 + ROW_BYTES])
    table.append(["embeddings of the multilingual sentences, 512 x 16 bit", MULTILINGUAL_TEXTS, 2 * 512 + ROW_BYTES])
    table.append([f"regions of the multilingual images, {REGIONS} each", MULTILINGUAL_IMAGES, REGION_BYTES])
    return table[:1] + [
        [what, f"{rows / 1e6:,.0f} M", f"{size:,}", number(rows * size / 1e12)] for what, rows, size in table[1:]
    ]


def memory_table() -> list[list[str]]:
    """Return the memory of indexes and the nodes that hold it."""
    head = ["rows", "dimension", "16 bit, GB", "SQ8, GB", "PQ, GB"]
    table = [[*head, "nodes for 16 bit", "for SQ8", "for PQ"]]
    for rows in (1e6, MULTILINGUAL_TEXTS, PAIRS):
        for dim in DIMS.values():
            sizes = [rows * index_bytes(kind, dim) / 1e9 for kind in ("fp16", "SQ8", "PQ")]
            nodes = [str(math.ceil(size / (NODE_GB * NODE_FILL))) for size in sizes]
            table.append([f"{rows / 1e6:,.0f} M", str(dim), *map(number, sizes), *nodes])
    return table


TABLES = {"rates": rates_table, "hours": hours_table, "storage": storage_table, "memory": memory_table}


def to_markdown(table: Sequence[Sequence[str]]) -> str:
    """Return a table whose first row is its head."""
    lines = [f"| {' | '.join(row)} |" for row in table]
    return "\n".join([lines[0], "|" + "---|" * len(table[0]), *lines[1:]])


def fill(text: str) -> str:
    """Return a page with its tables made anew."""

    def table(found: re.Match[str]) -> str:
        return f"{found[1]}\n{to_markdown(TABLES[found[2]]())}\n<!-- end -->"

    return re.sub(r"(<!-- table (\w+) -->)\n.*?<!-- end -->", table, text, flags=re.DOTALL)


def draw(path: Path) -> None:
    """Draw the memory of an index over its rows."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    rows = [1e6, 1e10]
    for color, dim in zip(("tab:blue", "tab:orange"), DIMS.values(), strict=True):
        for style, kind in (("-", "fp16"), ("--", "SQ8"), (":", "PQ")):
            name = f"dimension {dim}, {'16 bit' if kind == 'fp16' else kind}"
            axes.loglog(rows, [n * index_bytes(kind, dim) / 1e9 for n in rows], style, color=color, label=name)
    axes.axhline(NODE_GB * NODE_FILL, color="gray", linewidth=0.8)
    axes.text(1.2e6, NODE_GB * NODE_FILL * 1.15, f"one node ({NODE_GB} GB, {NODE_FILL:.0%} of it)", color="gray")
    for count in (MULTILINGUAL_TEXTS, PAIRS):
        axes.axvline(count, color="gray", linewidth=0.8, linestyle=":")
        axes.text(count * 0.93, 0.1, f"{count / 1e6:,.0f} M", color="gray", rotation=90, ha="right")
    axes.set(xlabel="vectors", ylabel="memory, GB (extrapolated)", xlim=rows)
    axes.legend(fontsize=8, loc="lower right")
    figure.savefig(path)


def main() -> None:
    """Write the tables and the figure."""
    PAGE.write_text(fill(PAGE.read_text("utf-8")), "utf-8")
    draw(FIGURE)
    print(f"{PAGE} and {FIGURE}")


if __name__ == "__main__":
    main()
