"""Weights of detectors from files of others, of which nothing is ever run: .pth, .safetensors, and detectron2's .pkl.

The model zoo of detectron2 pickles numpy arrays. They are rebuilt here by classes of ours that take a type code, a
shape and bytes; no function of numpy, and none of anything else, can be reached from such a file.
"""

import io
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ....data.files.checkpoint import read_checkpoint
from ....data.files.safe_pickle import read_pickle

MAX_BYTES = 4 * 2**30  # the largest detectors have about 1 GB
WRAPPERS = ("model", "state_dict", "model_state", "blobs")
NUMBER = re.compile(r"[fiub][1248]")


class _DataType:
    """A numpy dtype of plain numbers."""

    def __init__(self, code: str | bytes, align: bool = False, copy: bool = False) -> None:
        self.code = code.decode("ascii") if isinstance(code, bytes) else code
        self.order = "="
        if not NUMBER.fullmatch(self.code):
            raise ValueError(f"it holds an array of {self.code!r}, not of numbers")

    def __setstate__(self, state: tuple) -> None:
        self.order = "=" if state[1] == "|" else state[1]

    def read(self, raw: bytes | str, shape: tuple[int, ...], order: Literal["C", "F"]) -> np.ndarray:
        raw = raw.encode("latin1") if isinstance(raw, str) else raw  # as Python 2 wrote it
        values = np.frombuffer(raw, np.dtype(self.order + self.code)).reshape(shape, order=order)
        return values.astype(self.code)  # in the order of this machine, writable


class _Array:
    """A numpy array, filled by the pickle's BUILD."""

    values: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, is_fortran, raw = state
        self.values = dtype.read(raw, shape, "F" if is_fortran else "C")


def _reconstruct(kind: type, shape: tuple[int, ...], code: bytes) -> _Array:
    return _Array()


def _from_buffer(buffer: bytes, dtype: _DataType, shape: tuple[int, ...], order: Literal["C", "F"]) -> _Array:
    array = _Array()
    array.values = dtype.read(bytes(buffer), shape, order)
    return array


def _scalar(dtype: _DataType, raw: bytes | str) -> float | int | bool:
    return dtype.read(raw, (), "C").item()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


ADMITTED: dict[tuple[str, str], Callable[..., object]] = {
    ("__builtin__", "bytes"): _no_bytes,  # how protocol 2 writes those of an empty array
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DataType,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): OrderedDict,
}
for _package in ("numpy.core", "numpy._core"):  # before and since numpy 2
    ADMITTED[f"{_package}.multiarray", "_reconstruct"] = _reconstruct
    ADMITTED[f"{_package}.multiarray", "scalar"] = _scalar
    ADMITTED[f"{_package}.numeric", "_frombuffer"] = _from_buffer


def read_array_pickle(path: Path) -> object:
    """Return what a pickle of numpy arrays and plain containers holds, the arrays as tensors.

    Raises:
        ValueError: for a pickle that refers to anything else, of which nothing is run, and for a damaged file.
    """
    try:
        content = read_pickle(io.BytesIO(path.read_bytes()), ADMITTED, encoding="latin1")
    except ValueError as error:
        raise ValueError(f"{path} is no pickle of numpy arrays; nothing of it was run: {error}") from error
    return _tensors(content)


def _tensors(value: object) -> object:
    if isinstance(value, _Array):
        return torch.from_numpy(value.values)
    if isinstance(value, Mapping):
        return {key: _tensors(item) for key, item in value.items()}
    return value


def read_detector_weights(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a file, without the wrapper that trainers put around it; other entries are left out.

    Args:
        path: .safetensors; .pkl as in the model zoo of detectron2; anything else as `torch.save` writes it.

    Raises:
        FileNotFoundError: for no such file.
        ValueError: for a file that could run code, is damaged, too large, or holds no tensors by name.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No such file of weights: {path}")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes; a detector has at most {MAX_BYTES:,}.")
    content = read_array_pickle(path) if path.suffix == ".pkl" else read_checkpoint(path)
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds a {type(content).__name__}, not the state dict of a detector.")
    weights = {str(key).removeprefix("module."): item for key, item in content.items() if isinstance(item, Tensor)}
    if not weights:
        raise ValueError(f"{path} holds no tensors by name; its first keys: {', '.join(map(str, [*content][:5]))}.")
    return weights


def list_misfits(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """Return a line for each weight that is unknown, missing or of another shape than the configuration says."""
    problems = [f"unknown: {name} {tuple(state[name].shape)}" for name in state if name not in expected]
    problems += [f"missing: {name}" for name in expected if name not in state]
    return problems + [
        f"shape: {name} is {tuple(state[name].shape)}, the configuration says {tuple(expected[name].shape)}"
        for name in expected
        if name in state and state[name].shape != expected[name].shape
    ]


__all__ = ["list_misfits", "read_array_pickle", "read_detector_weights"]
