"""Text towers whose tokens may be vectors: that of a BriVL, or an encoder whose states are averaged.

Both embed a text of any length as the mean of its *windows*, which are as long as the tower reads at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from ...data.files.hashing import hash_model
from ...modeling_brivl.modeling_brivl import BriVLModel
from ...modeling_brivl.pooled_encoder import masked_mean
from ...processing.processing_brivl import BriVLProcessor
from ..text_tower import load_text_tower, load_text_weights

TEMPERATURE = 0.07  # as BriVL was trained with
MAX_WINDOWS = 4
GROUP = 16  # texts of like length that run together


@dataclass(eq=False)
class PromptEncoder:
    """A frozen text tower in evaluation mode.

    Attributes:
        model: whose weights must not change.
        tokenizer: of the tower.
        max_tokens: of a window, special tokens included.
        pool: (b, l, e) embedded tokens and (b, l) mask, 1 = real token, to (b, d) features.
        temperature: that cosines are divided by.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    max_tokens: int
    pool: Callable[[Tensor, Tensor], Tensor]
    temperature: float = TEMPERATURE

    def __post_init__(self) -> None:
        self.model.eval().requires_grad_(False)
        self.digest = hash_model(self.model)

    @property
    def embed_tokens(self) -> nn.Module:
        """The table of token embeddings."""
        return self.model.get_input_embeddings()

    def encode(self, inputs_embeds: Tensor, mask: Tensor) -> Tensor:
        """Return (b, d) unit rows of (b, l, e) embedded tokens with a mask (b, l), 1 = real token.

        Many texts run in groups of like length, so that little is padding.
        """
        order = mask.sum(dim=1).argsort(stable=True)
        parts = []
        for rows in order.split(GROUP):
            length = int(mask[rows].sum(dim=1).max())
            parts.append(self.pool(inputs_embeds[rows, :length], mask[rows, :length]))
        return F.normalize(torch.cat(parts)[order.argsort()], dim=-1)

    def check_unchanged(self) -> None:
        """Raise RuntimeError if a weight of the tower is not what it was."""
        if hash_model(self.model) != self.digest:
            raise RuntimeError("The weights of the text tower have changed, though it was to stay frozen.")

    @torch.no_grad()  # tensors of inference mode could not be trained on
    def embed(self, texts: Sequence[str], *, windows: int = MAX_WINDOWS, batch_size: int = 32) -> Tensor:
        """Return (n, d) unit rows: the mean of each text's first windows.

        Args:
            texts: none of them blank.
            windows: at most so many; 1 = the head of the text alone.
            batch_size: windows at a time, of like lengths.
        """
        ids, owners = self._windows(texts, windows)
        order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
        parts = []
        for start in range(0, len(order), batch_size):
            batch, mask = self.pad([ids[index] for index in order[start : start + batch_size]])
            parts.append(self.encode(self.embed_tokens(batch), mask).float().cpu())
        found = torch.cat(parts)[torch.tensor(order).argsort()]
        sums = torch.zeros(len(texts), found.shape[1]).index_add_(0, torch.tensor(owners), found)
        return F.normalize(sums, dim=-1)

    def _windows(self, texts: Sequence[str], windows: int) -> tuple[list[list[int]], list[int]]:
        """Return the token ids of all windows, and the number of each one's text."""
        options = {"truncation": True, "max_length": self.max_tokens, "verbose": False}
        encoded = self.tokenizer(list(texts), return_overflowing_tokens=True, **options)
        owners = encoded["overflow_to_sample_mapping"]
        kept = [index for index, owner in enumerate(owners) if index - owners.index(owner) < windows]
        return [encoded["input_ids"][index] for index in kept], [owners[index] for index in kept]

    def pad(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Return token ids (b, l) and mask (b, l), 1 = real token, on the device of the model."""
        length, pad = max(map(len, rows)), self.tokenizer.pad_token_id or 0
        ids = torch.tensor([[*row, *[pad] * (length - len(row))] for row in rows])
        mask = (torch.arange(length) < torch.tensor([len(row) for row in rows])[:, None]).long()
        return ids.to(self.model.device), mask.to(self.model.device)

    def only_unknown(self, texts: Sequence[str]) -> list[bool]:
        """Return for each text whether the tokenizer knows none of it."""
        unknown = self.tokenizer.unk_token_id
        rows = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        blank = {unknown, *self.tokenizer(" ", add_special_tokens=False)["input_ids"]}
        blank |= {self.tokenizer.convert_tokens_to_ids("▁")} - {None}
        return [(unknown is not None and unknown in row and set(row) <= blank) or not row for row in rows]


def brivl_encoder(model: BriVLModel, processor: BriVLProcessor) -> PromptEncoder:
    """Return the text tower of a BriVL."""

    def pool(inputs_embeds: Tensor, mask: Tensor) -> Tensor:
        return model.text_model(inputs_embeds=inputs_embeds, attention_mask=mask).pooler_output

    return PromptEncoder(
        model.text_model, processor.tokenizer, processor.max_text_length, pool, model.config.temperature
    )


def mean_encoder(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, max_tokens: int) -> PromptEncoder:
    """Return an encoder whose features are the mean of its last states over real tokens."""

    def pool(inputs_embeds: Tensor, mask: Tensor) -> Tensor:
        return masked_mean(model(inputs_embeds=inputs_embeds, attention_mask=mask).last_hidden_state, mask)

    return PromptEncoder(model, tokenizer, max_tokens, pool)


def load_encoder(source: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return a pre-trained text encoder in float32, and its tokenizer; `source` as in `load_text_tower`."""
    tower = load_text_tower(source)
    model: PreTrainedModel = AutoModel.from_config(tower.config, dtype=torch.float32)
    if hasattr(model, "pooler"):
        setattr(model, "pooler", None)  # noqa: B010 - it is not used, and its weights would be random
    model.load_state_dict(load_text_weights(source))
    return model.eval(), tower.tokenizer


def as_numpy(embeddings: Tensor) -> np.ndarray:
    """Return embeddings in float64, so that close scores are no ties."""
    return embeddings.double().numpy()


__all__ = [
    "MAX_WINDOWS",
    "PromptEncoder",
    "as_numpy",
    "brivl_encoder",
    "load_encoder",
    "mean_encoder",
]
