"""All scores of many texts with many images, kept in files on the way: a killed run goes on where it was.

A folder holds `manifest.json`, which says whose scores these are, and shards `scores-00000-of-00040.npy` of as many
texts each; a shard is there whole or not at all.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from ...data.files.atomic import UNFINISHED, atomic_file
from ...data.files.hashing import hash_json, hash_model
from ...data.files.manifest import agree_with_manifest
from ...pipelines.pair_scoring import PairScorer

logger = logging.getLogger(__name__)

SHARD = "scores-{:05d}-of-{:05d}.npy"


def score_matrix(
    scorer: PairScorer, texts: Sequence[str], folder: Path, *, rows_per_shard: int = 64, progress: bool = True
) -> np.ndarray:
    """Return (texts, images) float32 scores, from the shards that are there and the model for the rest.

    Args:
        scorer: model and images.
        texts: the texts.
        folder: of the shards; is made if need be.
        rows_per_shard: texts a shard, what a killed run loses at most.
        progress: show a bar.

    Raises:
        ValueError: the folder holds scores of another model, of other texts or images, or of another precision; or
            what `PairScorer` refuses.
    """
    if rows_per_shard < 1 or not len(texts):
        raise ValueError(f"There are {len(texts)} texts in shards of {rows_per_shard}; both must be 1 or more.")
    wanted = describe_scores(scorer, texts) | {"rows_per_shard": rows_per_shard}
    agree_with_manifest(folder, wanted, shards="scores-*.npy")
    for path in folder.glob(f"{UNFINISHED}*"):
        path.unlink()
    count = -(-len(texts) // rows_per_shard)
    rows = {
        folder / SHARD.format(at, count): slice(at * rows_per_shard, (at + 1) * rows_per_shard) for at in range(count)
    }
    matrix = np.full((len(texts), len(scorer)), np.nan, np.float32)
    missing = []
    for path, part in rows.items():
        if (found := _read_shard(path, matrix[part].shape)) is None:
            missing.append(path)
        else:
            matrix[part] = found
    done = int(np.isfinite(matrix).sum())
    with tqdm(
        total=matrix.size, initial=done, unit="pair", unit_scale=True, desc=folder.name, disable=not progress
    ) as bar:
        for path in missing:
            part = rows[path]
            matrix[part] = scorer(texts[part]).numpy()
            with atomic_file(path) as unfinished:
                np.save(unfinished, matrix[part])
            bar.update(matrix[part].size)
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


def _read_shard(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """Return the scores in a shard, None where it must be made."""
    try:
        found = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError) as error:
        logger.warning("%s is damaged (%s) and is made again.", path, error)
        return None
    if found.shape == shape and found.dtype == np.float32 and np.isfinite(found).all():
        return found
    logger.warning("%s holds %s %s, not scores of %s, and is made again.", path, found.dtype, found.shape, shape)
    return None


__all__ = ["describe_scores", "score_matrix"]
