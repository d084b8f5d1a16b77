"""Time of adding a few images to a large index beside that of building it: 50,000 made-up vectors, 10 real images.

    python benchmarks/retrieval/add.py runs/quickstart
    python benchmarks/retrieval/add.py runs/quickstart --rows 5000

The build writes shards and index as `wenlan index build` does, of vectors that are made up; beside it stands what it
would take with embedding, at the rate of the images that are added.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from wenlan.retrieval import BuildOptions, SearchEngine, build_index
from wenlan.retrieval.embed_worker import EmbedWorker
from wenlan.retrieval.store.folder import IndexFolder
from wenlan.retrieval.store.manifest import EmbeddedBy, IndexManifest
from wenlan.retrieval.vector_index import update_vector_index


def made_up_rows(start: int, count: int, dim: int) -> pa.Table:
    """Return rows as of images that have gone."""
    vectors = np.random.default_rng(start).normal(size=(count, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = [f"archive/{number:06}.jpg" for number in range(start, start + count)]
    return pa.table(
        {
            "id": names,
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float16).ravel()), dim),
            "path": names,
            "size": pa.array(range(count), pa.int64()),
            "modified": pa.array(range(count), pa.int64()),
        }
    )


def measure(options: argparse.Namespace) -> tuple[float, ...]:
    """Return the seconds of opening the model, of a build without embedding, of an add, and of embedding its images."""
    start = time.perf_counter()
    worker = EmbedWorker(options.model)
    opened = time.perf_counter()
    made_by = EmbeddedBy(options.model, str(worker.settings["model"]), str(worker.settings["processor"]))
    folder = IndexFolder(
        Path("index"), IndexManifest.begin(kind="images", embedded_by=made_by, dim=worker.dim, base="..")
    )
    with folder.writing():
        for first in range(0, options.rows, options.shard_size):
            folder.append(made_up_rows(first, min(options.shard_size, options.rows - first), worker.dim))
        update_vector_index(folder)
    built = time.perf_counter()
    report = build_index(Path("photos"), Path("index"), options=BuildOptions(num_proc=1))
    added = time.perf_counter()
    assert report.rows_kept == options.images
    worker([(str(path), path) for path in sorted(Path("photos").iterdir())])
    embedded = time.perf_counter()
    assert len(SearchEngine.open("index")) == options.rows + options.images
    return opened - start, built - opened, added - built, embedded - added


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--shard-size", type=int, default=256)
    options = parser.parse_args()
    options.model = os.path.abspath(options.model)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        Path("photos").mkdir()
        for number in range(options.images):
            noise = np.random.default_rng(number).integers(0, 256, (480, 640, 3), dtype=np.uint8)
            Image.fromarray(noise).save(f"photos/{number}.jpg")
        opening, build, add, embedding = measure(options)
    print(f"build of {options.rows} rows without embedding {build:.2f} s, add of {options.images} images {add:.2f} s:")
    print(f"opening the model {opening:.2f} s, embedding {embedding:.2f} s, the rest {add - opening - embedding:.2f} s")
    whole = opening + build + embedding / options.images * options.rows
    print(f"add / build without model and embedding: {(add - opening - embedding) / build:.1%}")
    print(f"add / build with both, at this rate {whole:.0f} s: {add / whole:.2%}")


if __name__ == "__main__":
    main()
