"""Size and speed of region shards at the sizes of bottom-up attention: 2048 features and 1601 classes a region.

    python benchmarks/region_shards.py                # 36 regions an image
    python benchmarks/region_shards.py --regions 100

The numbers in the regions are made up: features as means of rectified normal numbers, class logits normal with standard
deviation 3. Those of a real detector compress otherwise.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from wenlan.data import read_regions
from wenlan.data.regions.schema import RegionInfo
from wenlan.data.regions.shards import write_shard

DISTINCT = 32  # made-up images, repeated


def make_up(regions: int, seed: int) -> dict[str, Any]:
    """Return a row of made-up regions."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=3, size=(regions, 1601))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return {
        "image_id": f"{seed:012d}.jpg",
        "image_height": 480,
        "image_width": 640,
        "boxes": rng.random((regions, 4)) * 480,
        "features": np.maximum(rng.normal(size=(regions, 2048, 9)), 0).mean(axis=2, dtype=np.float32),
        "class_probs": probs.astype(np.float32),
        "object_ids": probs[:, 1:].argmax(axis=1),
        "object_scores": probs[:, 1:].max(axis=1),
        "attribute_ids": rng.integers(0, 400, regions),
        "attribute_scores": rng.random(regions),
    }


def seconds(function: Callable[[], object]) -> float:
    """Return the CPU seconds of a call, all threads together."""
    start = time.process_time()
    function()
    return time.process_time() - start


def measure(rows: list[dict[str, Any]], top_k: int | None, folder: Path) -> str:
    """Return size and rates of one way to store the class distribution."""
    labels = ("object_ids", "object_scores", "attribute_ids", "attribute_scores")
    info = RegionInfo("made up", 2048, num_classes=1601, background_index=0, top_k=top_k, labels=labels)
    path = folder / "regions-00000-of-00001.parquet"
    times = {"write": seconds(lambda: write_shard(path, [info.encode(row) for row in rows], info))}
    times["stream"] = seconds(lambda: sum(1 for _ in read_regions(folder, streaming=True)))
    times["copy to the cache"] = seconds(lambda: read_regions(folder, cache_dir=folder / "cache"))
    dataset = read_regions(folder, cache_dir=folder / "cache")
    order = random.Random(0).sample(range(len(rows)), len(rows))
    times["random access"] = seconds(lambda: [dataset[index]["features"] for index in order])
    rates = [f"{name} {len(rows) / time:.0f}" for name, time in times.items()]
    kept = "all classes" if top_k is None else f"best {top_k} classes"
    return f"{kept}: {path.stat().st_size / len(rows) / 1000:.0f} kB an image; rows/s: {', '.join(rates)}"


def main() -> None:
    """Print a line for all classes and one for the best 100 and 10; rows a second of processor time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--regions", type=int, default=36)
    parser.add_argument("--rows", type=int, default=512)
    args = parser.parse_args()
    torch.set_num_threads(1)
    made_up = [make_up(args.regions, seed) for seed in range(DISTINCT)]
    rows = [made_up[index % DISTINCT] for index in range(args.rows)]
    for top_k in (None, 100, 10):
        with tempfile.TemporaryDirectory() as folder:
            print(measure(rows, top_k, Path(folder)))


if __name__ == "__main__":
    main()
