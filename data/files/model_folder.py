"""Models given by name, a folder or an id of the hub, opened by one function that refuses what would fail later."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from torch import nn

from .bounded import read_bounded
from .checkpoint import non_finite_names

CONFIG, PROCESSOR, MAX_CONFIG_BYTES = "config.json", "processor_config.json", 16 << 20
MAX_MESSAGE = 300  # characters of what a library said
HUB_ID = re.compile(r"(?!.*(--|\.\.))\w[\w.-]{0,95}(/\w[\w.-]{0,95})?", re.ASCII)
LOCAL_FOLDERS = {"checkpoints", "demo", "model", "models", "out", "output", "outputs", "runs", "weights"}
LOCAL_SUFFIXES = {".bin", ".json", ".onnx", ".pt", ".pth", ".safetensors", ".tar", ".yaml", ".yml", ".zip"}


class MissingModelError(FileNotFoundError):
    """There is no model of this name; `name` is what was given."""

    def __init__(self, name: str, found: str) -> None:
        super().__init__(found)
        self.name = name


def read_model_config(name: str | PathLike[str], *, file: str | None = CONFIG) -> dict[str, Any] | None:
    """Return what the configuration in a folder holds; None for what may be an id of the hub, and without a `file`.

    Raises:
        MissingModelError: no such folder, or no model in it.
        ValueError: the file is no JSON object.
    """
    name, path = str(name), Path(name)
    if not path.exists():
        if is_local(name):
            raise MissingModelError(name, f"There is no model folder {name}. Give one, or an id of the hub.")
        return None
    if not path.is_dir():
        raise MissingModelError(name, f"{name} is a file; give the folder of a model, which holds {CONFIG}.")
    for one in path.iterdir():
        if not (one.is_file() or one.is_dir() or one.is_symlink()) or (one.is_symlink() and one.is_char_device()):
            raise ValueError(f"{one} is neither a file nor a folder; take it away.")
    if file is None:
        return None
    if not (path / file).is_file():
        raise MissingModelError(name, _describe_folder(path, file))
    try:
        config = json.loads(read_bounded(path / file, max_bytes=MAX_CONFIG_BYTES))
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, brackets in brackets
        raise ValueError(f"{path / file} is no JSON ({str(error)[:MAX_MESSAGE]}); fetch it again.") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path / file} is no JSON object of settings; fetch it again.")
    return config


def is_local(name: str) -> bool:
    """Return True for what can only be a path: it looks like one, or its first folder exists."""
    first, slash, _ = name.partition("/")
    return (
        not HUB_ID.fullmatch(name)
        or os.path.lexists(name)
        or Path(name).suffix.lower() in LOCAL_SUFFIXES
        or (bool(slash) and (first in LOCAL_FOLDERS or Path(first).exists()))
        or re.fullmatch(r"checkpoint-\d+", Path(name).name) is not None
    )


def detect_model_type(name: str | PathLike[str], *, expected: str | None = None) -> str:
    """Return the type of a model, such as "mlmm".

    Raises:
        MissingModelError: there is none.
        ValueError: it is not of the `expected` type, or its configuration cannot be read.
    """
    config = read_model_config(name)
    if config is None:
        from transformers import PreTrainedConfig

        with _short_errors(name):
            config, _ = PreTrainedConfig.get_config_dict(str(name))
    found = str(config.get("model_type"))[:40]
    if expected is not None and found != expected:
        raise ValueError(f"{name} holds a model of type {found!r}; give one of type {expected!r}.")
    return found


def open_pretrained(
    opener: Any, name: str | PathLike[str], *, file: str | None = CONFIG, is_whole: bool = False, **kwargs: Any
) -> Any:
    """Return `opener.from_pretrained(name, **kwargs)`.

    A model must be of the class's type, and its weights finite.

    Args:
        file: what a folder must hold; None: anything.
        is_whole: no weight of the model may be missing, as for one that is used and not trained.

    Raises:
        MissingModelError: no such folder, and nothing of this name on the hub, or the hub cannot be reached.
        ValueError: there is something else than such a model, or a damaged one; in one line.
    """
    read_model_config(name, file=file)
    if expected := getattr(getattr(opener, "config_class", opener), "model_type", None):
        detect_model_type(name, expected=expected)
    with _short_errors(name):
        opened = opener.from_pretrained(str(name), **kwargs, **{"output_loading_info": True} if is_whole else {})
    model, info = opened if isinstance(opened, tuple) else (opened, {})  # with output_loading_info
    if isinstance(model, nn.Module):
        _refuse_non_finite(model, name)
    if not is_whole:
        return opened
    if missing := sorted(info["missing_keys"]):
        raise ValueError(
            f"{name} lacks {len(missing)} weights of {opener.__name__}, such as {missing[0]}: it was trained for "
            "something else. Train it for this first, or give another model."
        )
    return model


def _refuse_non_finite(model: nn.Module, name: str | PathLike[str]) -> None:
    """Raise ValueError, with their names, if weights are NaN or infinite."""
    state = model.state_dict()
    if broken := non_finite_names(state.items()):
        raise ValueError(
            f"{name} has weights that are NaN or infinite, {len(broken)} of {len(state)}: {', '.join(broken[:3])}"
            f"{' ...' if len(broken) > 3 else ''}. Take an earlier checkpoint, or train again with other settings."
        )


def _describe_folder(path: Path, file: str) -> str:
    if not any(path.iterdir()):
        return f"{path} is empty: there is no model in it."
    inner = sorted((one.parent for one in path.glob(f"*/{file}")), key=lambda one: one.stat().st_mtime)
    if file == PROCESSOR and (path / CONFIG).is_file():
        return f"{path} has no {file}: copy the processor's files there from the folder of the whole run."
    more = f"; there is one in {inner[-1]}" if inner else ""
    return f"{path} holds no model: it has no {file}{more}."


@contextmanager
def _short_errors(name: str | PathLike[str]) -> Iterator[None]:
    """Turn what a library raises over a damaged or missing model into one line."""
    try:
        yield
    except (PermissionError, MissingModelError):
        raise
    except Exception as error:  # transformers, tokenizers, safetensors and timm raise nearly anything
        cause = error.__cause__ if isinstance(error, StrictDataclassError) and error.__cause__ else error
        message = " ".join(str(cause).split()).partition(" Model type should be one of")[0]
        if isinstance(error, OSError) and not Path(name).exists():
            known = "entry not found" in message.lower() or "not a valid model identifier" in message
            reason = "the hub has no such model" if known else "the hub cannot be reached"
            raise MissingModelError(str(name), f"There is no folder {name}, and {reason}.") from error
        if kind := re.search(r"for this kind of AutoModel: AutoModelFor(\w+)", message):
            raise ValueError(f"{name} holds a model of another kind; give one for {kind[1]}.") from error
        is_told = isinstance(cause, ValueError | OSError) and len(message) <= MAX_MESSAGE
        if is_told and str(name) in message:
            raise (OSError if isinstance(cause, OSError) else ValueError)(message) from error
        told = message if is_told else f"damaged, or no such model ({type(cause).__name__}: {message[:MAX_MESSAGE]})"
        raise ValueError(f"{name}: {told}") from error


__all__ = [
    "CONFIG",
    "PROCESSOR",
    "MissingModelError",
    "detect_model_type",
    "is_local",
    "open_pretrained",
    "read_model_config",
]
