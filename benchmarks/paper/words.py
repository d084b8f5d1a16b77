"""Nearest neighbours of words at the paper's size: our chunks of torch against faiss, which is no dependency.

    pip install faiss-cpu
    export PYTHONPATH=benchmarks OMP_NUM_THREADS=2
    python benchmarks/paper/words.py                       # 256 queries, in turn
    python benchmarks/paper/words.py --whole 20000         # ours alone: seconds and peak memory

The vectors are random unit rows, 170,000 of 1024 numbers. Ours are ordered by exact products, faiss's by float32 ones.
"""

import argparse
import os
import resource
import time

import numpy as np
import torch
from alternate import alternate, ratio
from wenlan.analysis.word_neighbors.neighbors import draw_queries, nearest_neighbors


def random_rows(count: int, width: int) -> np.ndarray:
    """Return unit rows (n, d), made in place: the peak of the memory is to be that of the search."""
    rows = np.random.default_rng(0).standard_normal((count, width), np.float32)
    rows /= np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    return rows


def compare(rows: np.ndarray, queries: np.ndarray, k: int, rounds: int) -> None:
    """Print the ratio of the times, and how many of the neighbours are the same."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    index, found = faiss.IndexFlatIP(rows.shape[1]), {}
    index.add(rows)

    def by_torch() -> None:
        found["torch"] = nearest_neighbors(rows, queries, k)

    def by_faiss() -> None:
        lists = index.search(rows[queries], k + 1)[1]  # each word finds itself first
        found["faiss"] = np.array([row[row != one][:k] for row, one in zip(lists, queries, strict=True)])

    seconds = alternate({"faiss": by_faiss, "torch": by_torch}, rounds=rounds)
    for name, times in seconds.items():
        print(f"{name}: {min(times):.1f} s, the fastest of {rounds}")
    print(f"faiss / torch: {ratio(seconds['faiss'], seconds['torch'])}")
    same = (np.sort(found["torch"]) == np.sort(found["faiss"])).all(axis=1).mean()
    print(f"the same {k} neighbours for {100 * same:.1f} % of {len(queries)} queries")


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--words", type=int, default=170_000)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--whole", type=int, help="so many queries by ours alone")
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    rows = random_rows(args.words, args.width)
    if not args.whole:
        return compare(rows, draw_queries(args.words, args.queries), args.k, args.rounds)
    started = time.perf_counter()
    nearest_neighbors(rows, draw_queries(args.words, args.whole), args.k, progress="neighbours")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{args.whole} queries: {time.perf_counter() - started:.0f} s, peak memory {peak:.2f} GB")
    return None


if __name__ == "__main__":
    main()
