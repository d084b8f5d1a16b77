"""The embeddings of texts, and of all of emoji7, by one model: each is computed once, for all evaluations of a run."""

from collections.abc import Iterable

import numpy as np
from datasets import DatasetDict
from transformers import PreTrainedModel

from ...data.emoji7.dataset import load_emoji7
from ...pipelines.embedding import embed_images, embed_texts
from ...processing.processing_brivl import BriVLProcessor


class TextEmbeddings:
    """Embeds each distinct text once.

    Args:
        model, processor: a `BriVLModel` and its processor.
        progress: show progress bars.
    """

    def __init__(self, model: PreTrainedModel, processor: BriVLProcessor, *, progress: bool = False) -> None:
        self._model, self._processor, self._progress = model, processor, progress
        self._texts: dict[str, np.ndarray] = {}

    def texts(self, texts: Iterable[str]) -> np.ndarray:
        """Return (texts, d) unit rows. New texts are embedded in order of length, so that little is padding."""
        texts = list(texts)
        if new := [text for text in dict.fromkeys(texts) if text not in self._texts]:
            new.sort(key=dict(zip(new, map(len, self._tokens(new)), strict=True)).__getitem__)
            found = embed_texts(self._model, self._processor, new, progress=self._progress).numpy()
            self._texts.update(zip(new, found, strict=True))
        return np.stack([self._texts[text] for text in texts])

    def unknown_tokens(self, texts: Iterable[str]) -> float:
        """Return the percentage of the texts' tokens that the tokenizer does not know."""
        tokens = [token for ids in self._tokens(list(texts)) for token in ids]
        return 100 * tokens.count(self._processor.tokenizer.unk_token_id) / max(len(tokens), 1)

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        return self._processor.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]


class Emoji7Embeddings(TextEmbeddings):
    """Embeds each split of emoji7, and each distinct text, once.

    Args:
        model, processor, progress: as for `TextEmbeddings`.
    """

    def __init__(self, model: PreTrainedModel, processor: BriVLProcessor, *, progress: bool = False) -> None:
        super().__init__(model, processor, progress=progress)
        self.splits: DatasetDict = load_emoji7()
        self._images: dict[str, np.ndarray] = {}

    def images(self, split: str) -> np.ndarray:
        """Return (images, d) unit rows, in the order of the split."""
        if split not in self._images:
            images = (row["image"] for row in self.splits[split].select_columns("image"))
            self._images[split] = embed_images(self._model, self._processor, images, progress=self._progress).numpy()
        return self._images[split]


__all__ = ["Emoji7Embeddings", "TextEmbeddings"]
