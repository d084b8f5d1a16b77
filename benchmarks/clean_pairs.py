"""CPU seconds and memory of `wenlan data clean`: texts alone, images, and the tables of fingerprints.

    python benchmarks/clean_pairs.py
    python benchmarks/clean_pairs.py --rows 1000000 --images 0 --table-rows 0

The bar: 100,000 synthetic rows of text in less than 60 CPU seconds. Each part runs in a process of its own, so that its
memory is its own: "memory" is the peak of resident memory above what the imports take.
"""

import argparse
import json
import multiprocessing
import random
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from wenlan.data import CleanSettings, clean_pairs
from wenlan.data.cleaning.cooccurrence import PairCounter
from wenlan.data.cleaning.near_duplicates import NearDuplicateIndex
from wenlan.data.cleaning.pipeline import IMAGE_RULES
from wenlan.processing import decode_image

WORDS = "今天天气真好我们去公园看花窗台上的黑猫一只红色大鸟在湖边飞过北京上海旅游美食摄影新闻图片来源网络"
MARKUP = ("<p>{}</p>", "#{}#", "{}！！！", "{} http://t.cn/A6x", "转发@小明 {}", "{}&nbsp;", "{}", "{}", "{}", "{}")


def draw_text(rng: random.Random) -> str:
    return rng.choice(MARKUP).format("".join(rng.choices(WORDS, k=rng.randint(8, 60))))


def clean_texts(rows: int) -> str:
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "crawl.jsonl")
        with source.open("w", encoding="utf-8") as lines:
            for number in range(rows):
                lines.write(json.dumps({"image": f"{number}.jpg", "text": draw_text(rng)}, ensure_ascii=False) + "\n")
        start = time.process_time()
        report = clean_pairs(source, folder, decode=decode_image, settings=CleanSettings(skip=IMAGE_RULES))
        return f"{time.process_time() - start:.1f} CPU s, kept {report.rows_out}"


def clean_images(count: int) -> str:
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for number in range(count):
            blocks = np.random.default_rng(number).integers(0, 256, (8, 9, 3), np.uint8)
            noise = Image.effect_noise((640, 480), 60).convert("RGB")
            image = Image.blend(Image.fromarray(blocks).resize((640, 480), Image.Resampling.NEAREST), noise, 0.3)
            image.save(Path(folder, f"{number}.jpg"))
            rows.append(json.dumps({"image": f"{number}.jpg", "text": draw_text(rng)}))
        Path(folder, "crawl.jsonl").write_text("\n".join(rows), "utf-8")
        start, start_wall = time.process_time(), time.perf_counter()
        report = clean_pairs(Path(folder, "crawl.jsonl"), folder, decode=decode_image, workers=2)
        cpu, wall = time.process_time() - start, time.perf_counter() - start_wall
        return f"{cpu:.1f} CPU s, {wall:.1f} s with 2 workers, kept {report.rows_out}"


def fill_pair_counter(rows: int) -> str:
    rng, counter, before = random.Random(0), PairCounter(), memory()
    for _ in range(rows):
        counter.add(rng.getrandbits(64), rng.getrandbits(64))
    held = memory() - before
    counter.rules(max_images=10, kept_images=1, max_texts=10, kept_texts=3)
    return f"held {held / 1e6:.0f} MB, the peak lasts while it is sorted"


def fill_exact_duplicates(rows: int) -> str:
    rng, image_of_bytes = random.Random(0), {}
    for _ in range(rows):
        image_of_bytes[rng.getrandbits(64)] = rng.getrandbits(64)
    return f"{len(image_of_bytes)} entries"


def fill_near_duplicates(rows: int) -> str:
    rng, index = random.Random(0), NearDuplicateIndex()
    start = time.process_time()
    for number in range(rows):
        value = rng.getrandbits(64)
        if not index.find(value):
            index.add(value, number)
    return f"{(time.process_time() - start) / max(1, rows) * 1e6:.1f} us a look-up"


def memory() -> int:
    """Return the resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measure(part: Callable[[int], str], size: int) -> str:
    before = memory()
    outcome = part(size)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return f"{outcome}; memory {max(0, peak - before) / 1e6:.0f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="of text")
    parser.add_argument("--images", type=int, default=500, help="of 640 x 480 pixels")
    parser.add_argument("--table-rows", type=int, default=1_000_000, help="entries of each table")
    arguments = parser.parse_args()
    parts = [
        (f"{arguments.rows} rows of text", clean_texts, arguments.rows),
        (f"{arguments.images} images", clean_images, arguments.images),
        (f"pair counter, {arguments.table_rows}", fill_pair_counter, arguments.table_rows),
        (f"exact duplicates, {arguments.table_rows}", fill_exact_duplicates, arguments.table_rows),
        (f"near duplicates, {arguments.table_rows}", fill_near_duplicates, arguments.table_rows),
    ]
    for name, part, size in parts:
        if size:
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                print(f"{name}: {process.submit(measure, part, size).result()}", flush=True)


if __name__ == "__main__":
    main()
