"""All scores of many texts with many images, kept in shards on the way: a killed run resumes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from ...data.files.atomic import atomic_file, remove_unfinished
from ...data.files.hashing import hash_json, hash_model
from ...data.files.shard_store import ShardStore, reading_shard, split_into_shards
from ...pipelines.pair_scoring import PairScorer


class ScoreShards(ShardStore[tuple[int, ...]]):
    """Shards of (texts, images) float32 scores; a shard is known by its shape."""

    name, suffix = "scores", ".npy"

    def read_identity(self, path: Path) -> tuple[int, ...]:
        """Return the shape of the scores in a shard."""
        return self.read(path).shape

    def read(self, path: Path) -> np.ndarray:
        """Return the scores in a shard; raise BadRowError if it is damaged."""
        with reading_shard(path):
            scores = np.load(path, allow_pickle=False)
            if scores.dtype != np.float32 or not np.isfinite(scores).all():
                raise ValueError(f"it holds {scores.dtype}, or numbers that are not finite")
        return scores


def score_matrix(
    scorer: PairScorer, texts: Sequence[str], folder: Path, *, rows_per_shard: int = 64, progress: bool = True
) -> np.ndarray:
    """Return (texts, images) float32 scores, from the shards that are there and the model for the rest.

    The folder of the shards is made if need be. A killed run loses the scores of `rows_per_shard` texts at most.

    Raises:
        ValueError: the folder holds scores of another model, of other texts or images, or of another precision; or
            what `PairScorer` refuses.
    """
    if rows_per_shard < 1 or not len(texts):
        raise ValueError(f"There are {len(texts)} texts in shards of {rows_per_shard}; both must be 1 or more.")
    parts = split_into_shards(len(texts), rows_per_shard)
    wanted = describe_scores(scorer, texts) | {"rows_per_shard": rows_per_shard}
    shards = ScoreShards(folder, [(len(part), len(scorer)) for part in parts], wanted)
    remove_unfinished(folder)
    pending = set(shards.pending())
    matrix = np.empty((len(texts), len(scorer)), np.float32)
    with tqdm(total=matrix.size, unit="pair", unit_scale=True, desc=folder.name, disable=not progress) as bar:
        for shard, part in enumerate(parts):
            rows, path = slice(part.start, part.stop), shards.path(shard)
            if shard in pending:
                matrix[rows] = scorer(texts[rows]).numpy()
                with atomic_file(path) as unfinished:
                    np.save(unfinished, matrix[rows])
            else:
                matrix[rows] = shards.read(path)
            bar.update(matrix[rows].size)
    return matrix


def describe_scores(scorer: PairScorer, texts: Sequence[str]) -> dict[str, object]:
    """Return what the scores are of; under "scores", 16 hexadecimal digits that identify all of it."""
    about: dict[str, object] = {
        "model": hash_model(scorer.model),
        "texts": hash_json(list(texts)),
        "images": scorer.images_hash,
        "shape": [len(texts), len(scorer)],
        "computed_in": str(scorer.dtype).removeprefix("torch."),
    }
    return about | {"scores": hash_json(about)}


__all__ = ["describe_scores", "score_matrix"]
