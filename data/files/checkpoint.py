"""Checkpoints that others wrote, as tensors and plain containers; nothing in such a file is ever run."""

import mmap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load, load_file
from torch import Tensor

from .bounded import check_regular
from .torch_files.reader import PICKLE, ZIP, PackedError, read_torch_file
from .torch_files.tar_member import find_in_tar, is_safetensors
from .torch_files.unpickler import Skipped

SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".tar")  # that a checkpoint mostly has
WRAPPERS = ("model", "state_dict", "model_state_dict")
MAX_WRAPPERS = 4  # one in the other; a pickle may put a dictionary into itself


def read_checkpoint(path: Path) -> Mapping[str, object]:
    """Return what a file of `torch.save` or a safetensors file holds, alone or as the only checkpoint in a tar.

    Tensors are mapped, not read, and plain values and containers are rebuilt. Anything else is a `Skipped`: it is
    neither looked up nor called. The suffix does not matter.

    Raises:
        FileNotFoundError: for no such file.
        ValueError: for a pickle that refers to functions which run code, a file that is damaged or something else, an
            archive that is compressed or holds several checkpoints, and a checkpoint without names.
    """
    if not path.exists():
        raise FileNotFoundError(f"No such checkpoint file: {path}")
    if path.is_dir():
        found = sorted(one.name for one in path.iterdir() if one.suffix in SUFFIXES)[:3]
        names = f", such as {', '.join(found)}" if found else ""
        raise ValueError(f"{path} is no regular file but a folder: give the checkpoint in it{names}.")
    check_regular(path)
    try:
        checkpoint = _read(path)
    except (PermissionError, MemoryError):
        raise
    except PackedError as error:
        raise ValueError(f"{path} is no readable checkpoint: {error}.") from error
    except Exception as error:  # bytes that are no checkpoint raise anything
        says_why = isinstance(error, ValueError | EOFError) and not isinstance(error, UnicodeError)
        reason = str(error)[:200] if says_why and str(error).isprintable() else type(error).__name__
        raise ValueError(
            f"{path} is no readable checkpoint, nothing of it was run: {reason}. "
            "Save the state dict alone, best as .safetensors; if it may be cut, compare its "
            f"{path.stat().st_size:,} bytes with the original."
        ) from error
    if not isinstance(checkpoint, Mapping):
        kind = checkpoint.name if isinstance(checkpoint, Skipped) else type(checkpoint).__name__
        raise ValueError(f"{path} holds a {kind}, not a state dict.")
    return checkpoint


def _read(path: Path) -> object:
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise ValueError("it is empty")
        # Written to, it changes in memory alone; it stays mapped as long as a tensor lies in it.
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    if is_safetensors(data):  # first: the length that it begins with may look like a pickle
        return load_file(path)
    if data[:4] == ZIP or data[:1] == PICKLE:
        return read_torch_file(data)
    member = find_in_tar(data)
    if member is None:
        raise ValueError("it is neither a file of torch.save nor one of safetensors")
    return load(bytes(member)) if is_safetensors(member) else read_torch_file(member)


def unwrap_weights(checkpoint: Mapping[str, object], wrappers: Sequence[str] = WRAPPERS) -> Mapping[str, object]:
    """Return the state dict in a checkpoint, without the dictionaries that trainers put around it.

    Args:
        wrappers: names of such dictionaries; the first that holds tensors counts, whatever lies beside it.
    """
    for _ in range(MAX_WRAPPERS):
        inner = (checkpoint.get(name) for name in wrappers)
        checkpoint = next((one for one in inner if isinstance(one, Mapping) and _holds_tensors(one)), checkpoint)
    return checkpoint


def _holds_tensors(value: object, depth: int = 2) -> bool:
    if isinstance(value, Mapping):
        return depth > 0 and any(_holds_tensors(item, depth - 1) for item in value.values())
    return isinstance(value, Tensor)


def non_finite_names(tensors: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Return the names of the tensors that hold NaN or infinity; (name, tensor) as of `state_dict().items()`."""
    floats = [(name, tensor) for name, tensor in tensors if tensor.is_floating_point() and tensor.numel()]
    # A sum is one pass without a copy; one that overflows is looked at again.
    doubtful = [(name, tensor) for name, tensor in floats if not tensor.detach().sum(dtype=torch.float32).isfinite()]
    return [name for name, tensor in doubtful if not tensor.isfinite().all()]


def exact_halves(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict in which every float32 tensor that float16 holds exactly is a float16 one.

    Written so, frozen weights that were rounded once need half the space. `from_pretrained` gives them back as float32,
    bit by bit, where the configuration's `dtype` is float32, as `save_pretrained` notes it from the model.
    Tensors that share their memory, as tied weights do, still share it.
    """
    halves: dict[tuple[object, ...], Tensor] = {}
    halved = {}
    for name, tensor in state_dict.items():
        if tensor.dtype == torch.float32:
            key = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride())
            if key not in halves:
                half = tensor.detach().half()
                halves[key] = half if torch.equal(half.float(), tensor) else tensor
            tensor = halves[key]
        halved[name] = tensor
    return halved


__all__ = ["exact_halves", "non_finite_names", "read_checkpoint", "unwrap_weights"]
