"""Checkpoints that others wrote, as tensors and plain containers; nothing in such a file is ever run."""

import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from .bounded import check_regular


def read_checkpoint(path: Path) -> Mapping[str, object]:
    """Return what a file of `torch.save` or a safetensors file holds; memory-mapped where the format allows it.

    Raises:
        FileNotFoundError: for no such file.
        ValueError: for a pickle with anything but tensors and plain containers, a file that is damaged or something
            else, and a checkpoint without names.
    """
    if not path.exists():
        raise FileNotFoundError(f"No such checkpoint file: {path}")
    check_regular(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (PermissionError, MemoryError):
        raise
    except Exception as error:  # bytes that are no checkpoint raise anything
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"it refers to {code[1]}, which could run code" if code else type(error).__name__
        raise ValueError(
            f"{path} is no readable checkpoint, nothing of it was run: {reason}. "
            "Save the state dict alone, best as .safetensors; if it may be cut, compare its "
            f"{path.stat().st_size:,} bytes with the original."
        ) from error
    if not isinstance(checkpoint, Mapping):
        raise ValueError(f"{path} holds a {type(checkpoint).__name__}, not a state dict.")
    return checkpoint


def non_finite_names(tensors: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Return the names of the tensors that hold NaN or infinity; (name, tensor) as of `state_dict().items()`."""
    floats = [(name, tensor) for name, tensor in tensors if tensor.is_floating_point() and tensor.numel()]
    # A sum is one pass without a copy; one that overflows is looked at again.
    doubtful = [(name, tensor) for name, tensor in floats if not tensor.detach().sum(dtype=torch.float32).isfinite()]
    return [name for name, tensor in doubtful if not tensor.isfinite().all()]


__all__ = ["non_finite_names", "read_checkpoint"]
