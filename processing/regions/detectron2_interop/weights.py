"""Weights of detectors from files of others, of which nothing is ever run: .pth, .safetensors, and detectron2's .pkl.

The model zoo of detectron2 pickles NumPy arrays.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ....data.files.bounded import check_regular, read_bounded
from ....data.files.checkpoint import read_checkpoint, unwrap_weights
from ....data.files.safe_pickle import read_array_pickle

MAX_BYTES = 4 * 2**30  # the largest detectors have about 1 GB
WRAPPERS = ("model", "state_dict", "model_state", "blobs")


def read_pickled_tensors(path: Path) -> object:
    """Return what a pickle of NumPy arrays and plain containers holds, the arrays as tensors.

    Raises:
        ValueError: for a pickle that refers to anything else, of which nothing is run, and for a damaged file.
    """
    try:
        return _tensors(read_array_pickle(read_bounded(path, max_bytes=MAX_BYTES)))
    except ValueError as error:
        raise ValueError(f"{path} is no pickle of numpy arrays; nothing of it was run: {error}") from error


def _tensors(value: object) -> object:
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biuf":
            raise ValueError(f"it holds an array of {value.dtype}, not of numbers")
        return torch.from_numpy(value)
    if isinstance(value, dict):
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
    if not path.exists():
        raise FileNotFoundError(f"No such file of weights: {path}")
    check_regular(path, max_bytes=MAX_BYTES)
    content = read_pickled_tensors(path) if path.suffix == ".pkl" else read_checkpoint(path)
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds a {type(content).__name__}, not the state dict of a detector.")
    content = unwrap_weights(content, WRAPPERS)
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


__all__ = ["list_misfits", "read_detector_weights", "read_pickled_tensors"]
