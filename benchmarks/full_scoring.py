"""Every caption with every image: our scorer against the published way, and a full matrix that is killed and resumed.

    make demo-mlmm                                    # the model, its regions and captions
    python benchmarks/full_scoring.py                 # the ratio, in a minute
    python benchmarks/full_scoring.py --kills 2       # and 1,000 images x 5,000 captions, a quarter of an hour

The plain way is that of UC2's and UNITER's evaluators: a caption goes with batches of images through the whole model,
so that words and regions are padded and embedded again for each pair; the scores are the same. The full matrix has
captions in five languages and is scored in bfloat16. Its process gets SIGKILL, is started again, and goes to the end at
the last; then the shards around the kills and four others are made again and compared bit for bit.
"""

import argparse
import json
import multiprocessing
import random
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from alternate import alternate, ratio
from wenlan.data import read_regions
from wenlan.evaluation.retrieval.score_matrix import score_matrix
from wenlan.modeling_mlmm import MLMMForImageTextRetrieval
from wenlan.pipelines.pair_scoring import PairScorer
from wenlan.processing import MLMMProcessor

LANGUAGES = ("zh", "en", "de", "fr", "ja")


class Data:
    """A model, the first so many images of a folder of regions, and one caption a language for each.

    Args:
        folder: of `make demo-mlmm`.
        images: how many.
    """

    def __init__(self, folder: Path, images: int) -> None:
        self.model = MLMMForImageTextRetrieval.from_pretrained(folder / "mlmm").eval()
        self.processor = MLMMProcessor.from_pretrained(folder / "mlmm")
        regions = read_regions(folder / "regions" / "finetune")
        self.rows = [regions[index] for index in range(images)]
        self.texts = []
        for language in LANGUAGES:
            lines = (folder / "scenes" / "finetune" / f"captions_{language}.jsonl").read_text("utf-8").splitlines()
            first = {Path(line["image"]).name: line["text"][0] for line in map(json.loads, lines)}
            self.texts += [first[row["image_id"]] for row in self.rows]

    def scorer(self, dtype: torch.dtype) -> PairScorer:
        """Return our scorer."""
        return PairScorer(self.model, self.processor, self.rows, dtype=dtype)


@torch.inference_mode()
def score_plainly(data: Data, texts: list[str], batch_size: int = 256) -> np.ndarray:
    """Return (texts, images) scores, a caption at a time."""
    scores = np.empty((len(texts), len(data.rows)), np.float32)
    for row, text in enumerate(texts):
        for start in range(0, len(data.rows), batch_size):
            part = data.rows[start : start + batch_size]
            batch = data.processor(text=[text] * len(part), regions=part)
            scores[row, start : start + len(part)] = data.model(**batch).scores.numpy()
    return scores


def score_fully(folder: Path, images: int, shards: Path) -> None:
    """Fill the shards of a full matrix: the process that is killed."""
    data = Data(folder, images)
    score_matrix(data.scorer(torch.bfloat16), data.texts, shards)


def kill_and_resume(folder: Path, images: int, kills: int) -> None:
    """Score a full matrix in processes of which all but the last are killed; print what came of it."""
    random.seed(0)
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as scratch:
        shards = Path(scratch) / "scores"
        count = -(-images * len(LANGUAGES) // 64)  # of 64 captions each, `score_matrix`'s own
        doubtful, seconds = set(), 0.0
        for number in range(kills + 1):
            process = spawn.Process(target=score_fully, args=(folder, images, shards))
            started = time.perf_counter()
            process.start()
            done = (number + random.random()) * count / (kills + 1)
            while number < kills and len(list(shards.glob("scores-*.npy"))) < done and process.is_alive():
                time.sleep(0.05)
            time.sleep(random.random() if number < kills else 0)
            if number < kills:
                process.kill()
            process.join()
            seconds += time.perf_counter() - started
            if process.exitcode != (-9 if number < kills else 0):
                raise RuntimeError(f"Process {number} ended with {process.exitcode}.")
            found = sorted(shards.glob("scores-*.npy"))
            print(f"process {number}: exit {process.exitcode}, {len(found)} of {count} shards")
            doubtful |= {max(len(found) - 1, 0), min(len(found), count - 1)}
        doubtful |= set(random.sample(sorted(set(range(count)) - doubtful), min(4, count - len(doubtful))))
        first = {path: np.load(path) for place, path in enumerate(found) if place in doubtful}
        for path in first:
            path.unlink()
        score_fully(folder, images, shards)
        equal = sum(np.array_equal(scores, np.load(path)) for path, scores in first.items())
        pairs = images * images * len(LANGUAGES)
        print(
            f"{pairs:,} pairs in {seconds:.0f} s with {kills} kills, starts included: {pairs / seconds:,.0f} a second; "
            f"{equal} of {len(first)} shards made again are bit-equal"
        )


def main() -> None:
    """Print the ratio, and the full matrix where kills are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/demo_mlmm"), help="of make demo-mlmm")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--images", type=int, default=1000, help="of the full matrix")
    args = parser.parse_args()
    data = Data(args.folder, 256)
    texts = data.texts[:: len(data.texts) // 32][:32]
    np.testing.assert_allclose(data.scorer(torch.float32)(texts).numpy(), score_plainly(data, texts), atol=1e-4)
    ways = {
        "plain": lambda: score_plainly(data, texts),
        "float32": lambda: data.scorer(torch.float32)(texts),
        "bfloat16": lambda: data.scorer(torch.bfloat16)(texts),
    }
    seconds = alternate(ways, rounds=args.rounds)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {len(texts)} captions x {len(data.rows)}")
    for name in ("float32", "bfloat16"):
        print(f"plain / ours in {name}: {ratio(seconds['plain'], seconds[name])}")
    if args.kills:
        kill_and_resume(args.folder, args.images, args.kills)


if __name__ == "__main__":
    main()
