"""A translation model of any family of transformers (Marian, M2M100, NLLB, MBart, T5 ...) over many captions."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..files.hashing import hash_weights
from ..files.model_folder import open_pretrained
from .language_codes import Direction
from .shards import Translation

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

NEW_TOKENS_PER_TOKEN, MORE_NEW_TOKENS = 1.5, 10  # of a translation at most


@dataclass(frozen=True)
class DecodingSettings:
    """Settings of the translation of captions.

    Attributes:
        num_beams: 1 = greedy.
        batch_tokens: source tokens of a batch, padding included.
        max_source_tokens: a longer caption is not translated.

    Raises:
        ValueError: one of them is no positive number.
    """

    num_beams: int = 4
    batch_tokens: int = 2048
    max_source_tokens: int = 128

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be 1 or more.")


class TranslationModel:
    """A model with its tokenizer; `translate` does the work.

    Args:
        name: folder or hub id. Its code is never run.

    Raises:
        ImportError: the tokenizer needs a package that is not installed.
        OSError: there is no such model.
        ValueError: it is no sequence-to-sequence model.
    """

    def __init__(self, name: str, *, dtype: torch.dtype, device: str) -> None:
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        self.tokenizer = open_pretrained(AutoTokenizer, name, trust_remote_code=False)
        model = open_pretrained(AutoModelForSeq2SeqLM, name, dtype=dtype, trust_remote_code=False)
        self.model = model.to(device).eval()
        self.identity = {"name": name, "sha256": _hash_translator(self.model, self.tokenizer)}

    @property
    def max_tokens(self) -> int:
        """Tokens that the model can read, and write."""
        return min(getattr(self.model.config, "max_position_embeddings", 512), self.tokenizer.model_max_length)

    @torch.inference_mode()
    def translate(
        self,
        texts: Sequence[str],
        direction: Direction,
        settings: DecodingSettings,
        *,
        advance: Callable[[list[int]], object] = lambda positions: None,
    ) -> list[Translation]:
        """Return the translation of each text, the same whatever ran before.

        Texts of similar length share a batch. Where a batch fails, as for want of memory, its halves are tried until it
        is known which text it is.

        Args:
            advance: is called with the positions of the texts that are done, batch by batch.
        """
        if direction.source_code is not None:
            self.tokenizer.src_lang = direction.source_code
        encoded = self.tokenizer([direction.prefix + text for text in texts], verbose=False)["input_ids"]
        limit = min(settings.max_source_tokens, self.max_tokens)
        found: dict[int, Translation] = {
            position: Translation(None, f"source too long: {len(ids)} tokens, at most {limit}")
            for position, ids in enumerate(encoded)
            if len(ids) > limit
        }
        advance(list(found))
        order = sorted((len(ids), position) for position, ids in enumerate(encoded) if position not in found)
        for batch in _batches(order, settings.batch_tokens):
            found.update(zip(batch, self._halving([encoded[i] for i in batch], direction, settings), strict=True))
            advance(batch)
        return [found[position] for position in range(len(texts))]

    def _halving(self, batch: list[list[int]], direction: Direction, settings: DecodingSettings) -> list[Translation]:
        try:
            return self._generate(batch, direction, settings)
        except torch.AcceleratorError:  # the device is lost: every further text would fail
            raise
        except Exception as error:  # recorded, with the text
            message = f"{type(error).__name__}: {error}"
        if len(batch) == 1:  # outside of `except`, which would hold the memory of what failed
            return [Translation(None, f"model failed: {message[:200]}")]
        logger.warning("A batch of %d captions failed (%s); its halves are tried.", len(batch), message[:200])
        half = len(batch) // 2
        return [*self._halving(batch[:half], direction, settings), *self._halving(batch[half:], direction, settings)]

    def _generate(self, batch: list[list[int]], direction: Direction, settings: DecodingSettings) -> list[Translation]:
        inputs = self.tokenizer.pad({"input_ids": batch}, return_tensors="pt").to(self.model.device)
        longest = max(map(len, batch))
        room = min(int(NEW_TOKENS_PER_TOKEN * longest) + MORE_NEW_TOKENS, self.max_tokens - 1)
        forced = direction.forced_bos_token_id
        ids = self.model.generate(
            **inputs,
            num_beams=settings.num_beams,
            do_sample=False,
            max_new_tokens=room,
            **({} if forced is None else {"forced_bos_token_id": forced}),
        )
        ids = ids[:, 1 if forced is None else 2 :].tolist()  # without what the decoder began with
        return [self._decode(row, room - (forced is not None)) for row in ids]

    def _decode(self, ids: list[int], room: int) -> Translation:
        ends = self.model.generation_config.eos_token_id
        ends = {ends} if isinstance(ends, int) else set(ends or ())
        end = next((position for position, token in enumerate(ids) if token in ends), len(ids))
        ids = ids[:end]
        decoded = self.tokenizer.decode(ids, skip_special_tokens=True)
        assert isinstance(decoded, str)  # of one list of ids
        text = " ".join(decoded.split())
        if end >= room - 1:  # Marian's models write an end there whether it fits or not
            return Translation(text, "cut off")
        return Translation(text, "unknown token" if self.tokenizer.unk_token_id in ids else None)


def _batches(order: Sequence[tuple[int, int]], batch_tokens: int) -> Iterator[list[int]]:
    """Yield positions, given as (length, position) from short to long, that are `batch_tokens` long with padding."""
    batch: list[int] = []
    for length, position in order:
        if batch and length * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch


def _hash_translator(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return 16 hexadecimal digits that identify weights, configuration, decoding defaults and vocabulary."""
    settings = [model.config.to_dict(), model.generation_config.to_dict()]
    for values in settings:  # neither where the model lies nor which release reads it
        values.pop("_name_or_path", None)
        values.pop("transformers_version", None)
    vocabulary = sorted(tokenizer.get_vocab().items())
    return hash_weights(json.dumps([settings, vocabulary], sort_keys=True, default=str), model.state_dict())


__all__ = ["DecodingSettings", "TranslationModel"]
