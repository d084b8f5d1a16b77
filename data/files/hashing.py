"""Hashes of bytes, values, files and models, all of them SHA-256: the same in every process, on every machine."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

END_BYTES = 16 << 10
DIGITS = 16  # hexadecimal digits of a short hash, which are 64 bits
NOT_THE_MODEL = ("_name_or_path", "transformers_version", "dtype")  # of a configuration


def hash_bytes(data: bytes) -> str:
    """Return 16 hexadecimal digits that identify bytes."""
    return hashlib.sha256(data).hexdigest()[:DIGITS]


def hash_text(text: str) -> str:
    """Return the whole SHA-256 of a text in UTF-8, in 64 hexadecimal digits: what `hash_file` gives for its file."""
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint(data: bytes) -> int:
    """Return 64 bits that identify bytes, the same as `hash_bytes`."""
    return int.from_bytes(hashlib.sha256(data).digest()[: DIGITS // 2])


def hash_json(value: object) -> str:
    """Return 16 hexadecimal digits that identify a value of JSON; the order of its keys counts."""
    return hash_bytes(json.dumps(value).encode())


def hash_file(path: Path) -> str:
    """Return the whole SHA-256 of a file's content, in 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_ends(path: Path) -> str:
    """Return 16 hexadecimal digits that tell a file from what replaces it: of its size, and its first and last 16 KiB.

    That is all of a small file, and of a large image its header and the end of its data; "" if it cannot be read.
    """
    if not path.is_file():  # a pipe would never end
        return ""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(END_BYTES)
            file.seek(max(size - END_BYTES, len(head)))
            return hash_bytes(b"%d " % size + head + file.read(END_BYTES))
    except OSError:
        return ""


def hash_weights(settings: str, weights: "Mapping[str, Tensor]") -> str:
    """Return 16 hexadecimal digits that identify the weights of a model, in their dtype, and what it is built by.

    Args:
        settings: text that says what the weights do not, such as a configuration in JSON.
        weights: as of `state_dict`, on any device; their order does not count.
    """
    import torch

    digest = hashlib.sha256(settings.encode())
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:DIGITS]


def hash_model(model: "PreTrainedModel") -> str:
    """Return 16 hexadecimal digits that identify the weights and the configuration of a model."""
    settings = {name: value for name, value in model.config.to_dict().items() if name not in NOT_THE_MODEL}
    return hash_weights(json.dumps(settings, sort_keys=True, default=str), model.state_dict())


__all__ = [
    "fingerprint",
    "hash_bytes",
    "hash_ends",
    "hash_file",
    "hash_json",
    "hash_model",
    "hash_text",
    "hash_weights",
]
