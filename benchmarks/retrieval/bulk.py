"""Embedding in bulk: one process against several, and what one core does in a second, for `docs/scale.md`.

    python benchmarks/retrieval/bulk.py processes runs/quickstart                 # on a quiet machine, 15 minutes
    python benchmarks/retrieval/bulk.py processes runs/quickstart --images 600 --shard-size 100 --rounds 1
    python benchmarks/retrieval/bulk.py rates runs/quickstart --output benchmarks/retrieval/rates.json

`processes` times whole `wenlan embed` commands in turn, from their start to their exit: one process with one thread,
one with its default threads, one process a core; the first and the last must write the same bytes. `rates` are of one
thread, in seconds of processor time, the median of the rounds: JPEG files of 640 x 480 pixels, the model that is given,
and models of published sizes with random weights (BriVL with its grid, so without a detector; the detector without
reading files, 600 x 800; MLMM with 20 tokens and 36 regions, whose embeddings it makes anew for each pair).
"""

import argparse
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from wenlan.data import training_texts
from wenlan.modeling_brivl import BriVLConfig, BriVLModel
from wenlan.modeling_mlmm import MLMMConfig, MLMMForImageTextRetrieval
from wenlan.modeling_region_detector import RegionDetector, RegionDetectorConfig, RegionImageProcessor
from wenlan.pipelines.workers.cores import usable_cores
from wenlan.processing import decode_image
from wenlan.processing.regions import RegionFeatureExtractor
from wenlan.retrieval.embed_worker import EmbedWorker

TOKENS, REGIONS = 20, 36


def write_images(folder: Path, count: int) -> list[Path]:
    """Return so many JPEG files of 640 x 480 pixels: smooth noise, about 50 KB each."""
    paths = [folder / f"{number:06}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        small = np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(small).resize((640, 480), Image.Resampling.BICUBIC).save(path, quality=90)
    return paths


def run_embed(model: str, images: Path, output: Path, shard_size: int, num_proc: int, threads: int | None) -> float:
    """Return the seconds of a command."""
    command = [sys.executable, "-m", "wenlan", "embed", model, str(images), "--output", str(output)]
    command += ["--num-proc", str(num_proc), "--shard-size", str(shard_size)]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    started = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - started


def compare_processes(model: str, count: int, shard_size: int, rounds: int) -> None:
    """Print the seconds of whole commands and their ratios."""
    cores = usable_cores()
    ways = {
        "1 process, 1 thread": (1, 1),
        f"1 process, {cores} threads": (1, None),
        f"{cores} processes": (cores, None),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "one").mkdir()
        write_images(folder / "one", 1)
        (folder / "all").mkdir()
        write_images(folder / "all", count)
        alone = run_embed(model, folder / "one", folder / "one.parquet", shard_size, 1, None)
        print(f"{count} images on {cores} cores, shards of {shard_size}; a command for one image takes {alone:.1f} s")
        digests = set()
        for _ in range(rounds):
            for name, (num_proc, threads) in ways.items():
                output = folder / "out.parquet"
                output.unlink(missing_ok=True)
                seconds[name].append(run_embed(model, folder / "all", output, shard_size, num_proc, threads))
                if threads == 1 or num_proc == cores:  # more threads round otherwise
                    digests.add(hashlib.sha256(output.read_bytes()).hexdigest())
    fastest = list(ways)[-1]
    for name, times in seconds.items():
        ratios = sorted(slow / fast for slow, fast in zip(times, seconds[fastest], strict=True))
        print(
            f"{name}: {statistics.median(times):.1f} s ({min(times):.1f}-{max(times):.1f}), "
            f"{count / statistics.median(times):.0f} images/s; {fastest} against it "
            f"{statistics.median(ratios):.2f}x ({ratios[0]:.2f}-{ratios[-1]:.2f})"
        )
    print(f"outputs of one thread a process with the same bytes: {len(digests) == 1}")


def rate(work: Callable[[], object], count: int, rounds: int) -> float:
    """Return how many of `count` are done in a processor second, by the median of the rounds after one to warm up."""
    seconds = []
    for _ in range(rounds + 1):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return count / statistics.median(seconds[1:])


@torch.inference_mode()
def measure_model(model: str, rounds: int) -> Iterator[tuple[str, float]]:
    """Yield names and rates of decoding and of the model that is given."""
    worker = EmbedWorker(model, device="cpu")
    with tempfile.TemporaryDirectory() as temporary:
        paths = write_images(Path(temporary), 128)
        yield "decode", rate(lambda: [decode_image(path) for path in paths], len(paths), rounds)
        items = [(path.name, path) for path in paths]
        yield "demo_image", rate(lambda: worker(items), len(items), rounds)
    sentences = [(str(number), text) for number, text in enumerate(training_texts("zh")[:256])]
    yield "demo_sentence", rate(lambda: worker(sentences), len(sentences), rounds)


@torch.inference_mode()
def measure_published(rounds: int) -> Iterator[tuple[str, float]]:
    """Yield names and rates of models of published sizes."""
    for variant, batch in (("1.0", 4), ("2.0", 2)):
        model = BriVLModel(BriVLConfig.from_variant(variant)).eval()
        size = model.config.vision_config.image_size
        pixel_values = torch.randn(batch, 3, size, size)
        yield f"brivl_{variant}_image", rate(lambda m=model, p=pixel_values: m(pixel_values=p), batch, rounds)
        input_ids = torch.randint(200, 20_000, (8, TOKENS))
        yield f"brivl_{variant}_sentence", rate(lambda m=model, i=input_ids: m(input_ids=i), 8, rounds)
        del model
    detector = RegionDetector(RegionDetectorConfig.from_variant("bua")).eval()
    detector.fold_batch_norms()
    extractor = RegionFeatureExtractor(
        detector.to(memory_format=torch.channels_last), RegionImageProcessor(), model_hash="-"
    )
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (600, 800, 3), dtype=np.uint8))
    yield "detector_image", rate(lambda: extractor.extract([image]), 1, rounds)
    mlmm = MLMMForImageTextRetrieval(MLMMConfig()).eval()
    pairs = {
        "input_ids": torch.randint(10, 1000, (16, TOKENS)),
        "attention_mask": torch.ones(16, TOKENS, dtype=torch.long),
        "region_features": torch.rand(16, REGIONS, mlmm.config.region_feature_dim),
        "region_boxes": torch.rand(16, REGIONS, 7),
        "region_attention_mask": torch.ones(16, REGIONS, dtype=torch.long),
    }
    yield "mlmm_pair", rate(lambda: mlmm(**pairs), 16, rounds)


def measure_rates(model: str, rounds: int, output: Path | None) -> None:
    """Print the rates, and write them as JSON with what they were measured on."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rates = {}
    for measure in (measure_model(model, rounds), measure_published(rounds)):
        for name, value in measure:
            rates[name] = float(f"{value:.3g}")
            print(f"{name}: {rates[name]:g} a second and core", flush=True)
    print(f"decoding is {rates['demo_image'] / rates['decode']:.0%} of the time of embedding an image with this model")
    if output is not None:
        machine = {"machine": platform.machine(), "torch": torch.__version__.partition("+")[0], "threads": 1}
        output.write_text(json.dumps({"measured_on": machine, "per_core_second": rates}, indent=2) + "\n", "utf-8")


def main() -> None:
    """Measure one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["processes", "rates"])
    parser.add_argument("model", help="folder of a BriVL")
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--shard-size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, help="the JSON file of the rates")
    args = parser.parse_args()
    if args.what == "processes":
        compare_processes(args.model, args.images, args.shard_size, args.rounds)
    else:
        measure_rates(args.model, args.rounds, args.output)


if __name__ == "__main__":
    main()
