"""Table 1 at the full size of a small machine: seven languages on the demo's model, and 40,000 images streamed.

    python benchmarks/paper/table1.py --model runs/quickstart       # emoji7 in seven languages
    python benchmarks/paper/table1.py                               # 40,000 images, then killed and resumed

Of the stream it prints how resident memory grows, by a line fitted after the warm-up, and whether a run that is killed
with SIGKILL in the middle and resumed ends in the same files, bit by bit but for the time. The images are small JPEG
files of random colours, the model is the tiny one of the tests: both only have to be many and quick.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # ROOT first: tests/wenlan must not pass for the package

CLASSES, SIZE = 200, 72
FILES = ("predictions.csv", "per_class.csv", "confusions.csv", "table1.csv", "table1.md", "classes.png")


def write_inputs(folder: Path, count: int) -> list[str]:
    """Write a tiny model, a class file with the names of emoji7, and images; return the options for them."""
    from helpers.brivl.tiny_folder import save_tiny_folder
    from wenlan.data import load_emoji7

    save_tiny_folder(folder / "model")
    rows = load_emoji7()["test"].remove_columns("image").select(range(CLASSES))
    lines = (f"{row['concept']}\t{row['name_zh']}\n" for row in rows)
    (folder / "classes.tsv").write_text("".join(lines), "utf-8")
    rng = np.random.default_rng(0)
    for number in range(count):
        target = folder / "images" / rows[number % CLASSES]["concept"] / f"{number:05d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        colours = Image.fromarray(rng.integers(256, size=(6, 6, 3), dtype=np.uint8))
        colours.resize((SIZE, SIZE)).save(target, quality=85)
    return [str(folder / "model"), "--images", str(folder / "images"), "--classes", str(folder / "classes.tsv")]


def stream(count: int, warm_up: int) -> None:
    """Print the growth of memory over an unbroken run, and compare a killed and resumed run with it."""
    from wenlan.evaluation.zero_shot.prediction_shards import PredictionShards
    from wenlan.training_scripts.table1 import main as table1

    samples: list[tuple[int, float]] = []
    write = PredictionShards.write

    def sample(shards, shard, piece):
        write(shards, shard, piece)
        samples.append((shards.parts[shard].stop, psutil.Process().memory_info().rss / 1e6))

    PredictionShards.write = sample
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options, started = write_inputs(folder, count), time.monotonic()
        whole, broken = folder / "whole", folder / "broken"
        table1([*options, "--output_dir", str(whole)])
        seconds = time.monotonic() - started
        images, megabytes = np.array([one for one in samples if one[0] >= warm_up]).T
        slope, _ = np.polyfit(images, megabytes, 1)
        print(
            f"{count} images: {seconds:.0f} s, {megabytes[0]:.1f} MB after {images[0]:.0f}, {megabytes[-1]:.1f} MB at "
            f"the end, {megabytes.max():.1f} MB at most. Slope {slope * count:.1f} MB over {count} images."
        )
        command = [str(Path(sys.executable).parent / "wenlan"), "table1", *options, "--output_dir", str(broken)]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
            while process.poll() is None and len(list(broken.glob("rows/*.parquet"))) < len(samples) // 2:
                time.sleep(0.05)
            process.kill()
            process.wait()
            done = len(list(broken.glob("rows/*.parquet")))
            subprocess.run([*command, "--resume"], stdout=log, stderr=log, check=True)
        one, other = (json.loads((run / "metrics.json").read_text("utf-8")) for run in (whole, broken))
        same = {**one, "wall_seconds": 0} == {**other, "wall_seconds": 0}
        same &= all((whole / file).read_bytes() == (broken / file).read_bytes() for file in FILES)
        print(f"Killed after {done} of {len(samples)} shards and resumed: {'the same' if same else 'OTHER'} files.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="evaluate it on emoji7 in seven languages, in place of the stream")
    parser.add_argument("--output_dir", default="runs/table1_emoji7", help="of that")
    parser.add_argument("--images", type=int, default=40_000, help="of the stream")
    parser.add_argument("--warm-up", type=int, default=4_000, help="images before the line begins")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.model is None:
        return stream(args.images, args.warm_up)
    from wenlan.data import LANGUAGES
    from wenlan.training_scripts.table1 import main as table1

    table1([args.model, "--images", "emoji7", "--languages", *LANGUAGES, "--output_dir", args.output_dir])


if __name__ == "__main__":
    main()
