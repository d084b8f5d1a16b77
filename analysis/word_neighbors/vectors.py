"""Words to vectors: the features of BriVL's text tower, or the last states of a text encoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ...data.files.atomic import atomic_file
from ...data.files.hashing import hash_json, hash_model
from ...modeling_brivl.modeling_brivl import BriVLModel
from ...modeling_brivl.pooled_encoder import masked_mean

Pool = Literal["mean", "cls", "features"]
SHARD = 10_000  # words of a file
BATCH = 64  # of words with as many tokens: larger ones were slower on a CPU


@dataclass(eq=False)
class WordEncoder:
    """A frozen model that embeds words.

    Attributes:
        name: for figures.
        model: a text encoder, or a BriVL.
        tokenizer: of the model.
        max_tokens: of a word, special tokens included; more are cut.
        pool: mean of the last states without special tokens, the first state, or the features of a BriVL.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    max_tokens: int
    pool: Pool

    def __post_init__(self) -> None:
        self.model.eval().requires_grad_(False)
        self.digest = hash_model(self.model)

    @property
    def key(self) -> str:
        """Name of a file that identifies the vectors."""
        return f"{self.digest}-{self.pool}"

    def embed(self, words: Sequence[str], cache: Path | None = None, *, progress: bool = False) -> np.ndarray:
        """Return (n, d) float32 vectors of words.

        Args:
            words: none of them blank.
            cache: folder with the vectors of 10,000 words a file, which a run that was stopped need not make again.
            progress: show a bar.

        Raises:
            ValueError: a vector is zero or not finite.
            RuntimeError: a weight has changed.
        """
        found = np.empty((0, 0), np.float32)
        with tqdm(total=len(words), desc=f"embed: {self.name}", disable=not progress) as bar:
            for start in range(0, len(words), SHARD):
                shard = list(words[start : start + SHARD])
                file = None if cache is None else cache / self.key / f"{hash_json(shard)}.npy"
                if file is not None and file.is_file():
                    part = np.load(file)
                    bar.update(len(shard))
                else:
                    part = self._embed(shard, bar)
                    check_vectors(part, shard)
                    if file is not None:
                        with atomic_file(file) as unfinished:
                            np.save(unfinished, part)
                if not start:  # filled in place: 170,000 words of BriVL 2.0 have 1.4 GB
                    found = np.empty((len(words), part.shape[1]), np.float32)
                found[start : start + len(shard)] = part
        if hash_model(self.model) != self.digest:
            raise RuntimeError(f"The weights of {self.name} have changed, though they were to stay frozen.")
        return found

    @torch.inference_mode()
    def _embed(self, words: list[str], bar: tqdm) -> np.ndarray:
        ids = self.tokenizer(words, truncation=True, max_length=self.max_tokens, verbose=False)["input_ids"]
        order = sorted(range(len(words)), key=lambda index: len(ids[index]))
        found, parts = [], []
        for _, group in groupby(order, key=lambda index: len(ids[index])):  # so that there is no padding
            rows = list(group)
            for start in range(0, len(rows), BATCH):
                batch = rows[start : start + BATCH]
                parts.append(self._pool(torch.tensor([ids[index] for index in batch], device=self.model.device)))
                found += batch
                bar.update(len(batch))
        return torch.cat(parts)[torch.tensor(found).argsort()].numpy()

    def _pool(self, input_ids: Tensor) -> Tensor:
        inputs = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
        if self.pool == "features":
            assert isinstance(self.model, BriVLModel)
            return self.model.get_text_features(**inputs).pooler_output.float().cpu()
        states = self.model(**inputs).last_hidden_state.float()
        if self.pool == "cls":
            return states[:, 0].cpu()
        special = torch.tensor(self.tokenizer.all_special_ids, device=input_ids.device)
        return masked_mean(states, ~torch.isin(input_ids, special)).cpu()


def check_vectors(vectors: np.ndarray, words: Sequence[str]) -> None:
    """Raise ValueError, with the word, for a vector (of n, d) that is zero or not finite."""
    greatest = np.maximum(vectors.max(axis=1), -vectors.min(axis=1))
    if len(bad := np.flatnonzero(~np.isfinite(greatest) | (greatest == 0))):
        others = f" and of {len(bad) - 1} others" if len(bad) > 1 else ""
        raise ValueError(
            f"The vector of {words[bad[0]]}{others} is {'zero' if greatest[bad[0]] == 0 else 'not finite'}, so it has "
            "no direction: leave the word out, or give another model."
        )


def to_unit_rows(vectors: np.ndarray, words: Sequence[str]) -> np.ndarray:
    """Scale vectors (n, d) to length 1, in place, and return them.

    Raises:
        ValueError: a vector is zero or not finite; says of which word.
    """
    check_vectors(vectors, words)
    vectors /= np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]
    return vectors


def center_rows(rows: np.ndarray, words: Sequence[str]) -> np.ndarray:
    """Subtract the mean from unit rows (n, d), scale them to length 1 again, both in place, and return them.

    The vectors of contextual encoders lie in a narrow cone, of which the mean is the axis.

    Raises:
        ValueError: a vector is the mean.
    """
    rows -= rows.mean(axis=0, dtype=np.float64)
    return to_unit_rows(rows, words)


__all__ = ["Pool", "WordEncoder", "center_rows", "check_vectors", "to_unit_rows"]
