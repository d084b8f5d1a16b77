"""A BriVL that embeds images or sentences piece by piece, in this process or in others."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any

import numpy as np
from torch import Tensor

from ..data.files.hashing import hash_model
from ..data.rows.report import BadRowError
from ..pipelines.device import choose_device
from ..pipelines.embedding import embed_image_tokens, embed_images, embed_text_tokens, embed_texts
from ..pipelines.open_brivl import hash_processor, open_brivl
from ..pipelines.workers.run_tasks import OpenedWorker
from ..processing.regions.feature_extractor import RegionFeatureExtractor
from .embed_inputs import Item, load


@dataclass(frozen=True)
class Embedded:
    """The embeddings of the good items of a piece, and what was wrong with the others.

    Attributes:
        ids: n; the place of an image, or the sentence.
        embeddings: (n, d) float32, unit rows.
        bad: place and error of each item that was left out.
        tokens: of each item (n_i, late_dim) float16 for late interaction, None if they were not asked for.
    """

    ids: list[str]
    embeddings: np.ndarray
    bad: list[tuple[str, BadRowError]]
    tokens: list[np.ndarray] | None = None


class EmbedWorker:
    """Embed pieces of images or sentences.

    Args:
        model: folder or hub id of a BriVL model.
        detector: folder or hub id of the region detector whose boxes the model looks at (BriVL 1.0), for images.
        batch_size: images or sentences at a time.
        device: of the models; by default a GPU if there is one.
        with_tokens: give the tokens of a model with late interaction, too.
        expected: the settings of a worker that this one must equal.

    Attributes:
        settings: hashes of the model, its processor and the detector: what the embeddings depend on.
        processor: of the model.
        dim: of an embedding.
        late_dim: of a token, None without tokens.

    Raises:
        MissingModelError: there is no such model.
        ValueError: it is damaged or of another kind, or its settings are not as expected.
    """

    def __init__(
        self,
        model: str,
        *,
        detector: str | None = None,
        batch_size: int = 32,
        device: str | None = None,
        with_tokens: bool = False,
        expected: Mapping[str, str | None] | None = None,
    ) -> None:
        self._arguments: dict[str, Any] = {
            "detector": detector,
            "batch_size": batch_size,
            "device": device,
            "with_tokens": with_tokens,
        }
        self._name, self._batch_size = model, batch_size
        device = choose_device(device)
        self._encoder, self.processor = open_brivl(model)
        self._detector = None
        if detector is not None:
            self._detector = RegionFeatureExtractor.from_pretrained(detector, device=device)
        self.settings: dict[str, str | None] = {
            "model": hash_model(self._encoder),
            "processor": hash_processor(self.processor),
            "detector": None if self._detector is None else self._detector.model_hash,
        }
        if expected is not None and self.settings != expected:
            raise ValueError(f"{model} changed while it was used: it is {self.settings} and was {dict(expected)}.")
        self._encoder.to(device=device)  # type: ignore[call-arg]  # a decorator hides self
        config = self._encoder.config
        self.dim: int = config.projection_dim
        self.late_dim: int | None = config.late_dim if with_tokens and config.late_interaction else None

    def opener(self) -> OpenedWorker[Sequence[Item], Embedded]:
        """Return what opens this worker for `run_tasks`: itself in this process, in others one with equal settings."""
        return OpenedWorker(self, partial(EmbedWorker, self._name, expected=self.settings, **self._arguments))

    def __call__(self, items: Sequence[Item]) -> Embedded:
        """Return the embeddings of images, or of sentences.

        Raises:
            ValueError: an embedding is not finite.
        """
        ids: list[str] = []
        bad: list[tuple[str, BadRowError]] = []

        def good_items() -> Iterator[Any]:
            for place, item in items:
                try:
                    loaded = load(item, as_original=self.processor.image_processor.as_original)
                except BadRowError as error:
                    bad.append((place, error))
                    continue
                ids.append(loaded if isinstance(loaded, str) else place)
                yield loaded

        rest = good_items()
        first = list(islice(rest, 1))
        if not first:
            return Embedded(ids, np.empty((0, self.dim), np.float32), bad, None if self.late_dim is None else [])
        embeddings, tokens = self._embed(chain(first, rest), are_texts=isinstance(first[0], str))
        return Embedded(ids, embeddings.numpy(), bad, tokens)

    def _embed(self, items: Iterable[Any], *, are_texts: bool) -> tuple[Tensor, list[np.ndarray] | None]:
        options: dict[str, Any] = {"batch_size": self._batch_size}
        options |= {} if are_texts else {"detector": self._detector}
        if self.late_dim is None:
            return (embed_texts if are_texts else embed_images)(self._encoder, self.processor, items, **options), None
        embed = embed_text_tokens if are_texts else embed_image_tokens
        return embed(self._encoder, self.processor, items, **options)


__all__ = ["EmbedWorker", "Embedded"]
