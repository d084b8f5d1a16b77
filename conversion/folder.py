"""Steps that every conversion of a checkpoint takes: refuse what is in the way, write a checked folder."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..data.files.atomic import atomic_files

MAX_KINDS = 20  # that a summary names


class SavedModel(Protocol):
    """A model of transformers or of diffusers."""

    @property
    def save_pretrained(self) -> Callable[..., object]:
        """The method that writes configuration and weights into a folder."""

    def num_parameters(self) -> int:
        """Return how many parameters it has."""


def refuse_existing(folder: Path) -> None:
    """Raise FileExistsError if the folder holds something."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists already: remove it, or choose another folder to write.")


@contextmanager
def name_file(path: Path) -> Iterator[None]:
    """Put the path before the message of a ValueError in the block."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, vocab_size: int, *, source: object, option: str) -> None:
    """Raise ValueError if the vocabulary is not the one of the embeddings."""
    if len(tokenizer) != vocab_size:
        raise ValueError(
            f"The tokenizer of {source} has {len(tokenizer)} tokens, the encoder {vocab_size}. "
            f"Pass a folder with the vocab.txt or tokenizer.json of that encoder: {option}."
        )


def write_folder(
    folder: Path,
    model: SavedModel,
    save_processor: Callable[[Path], object],
    check: Callable[[Path], None],
    *,
    state_dict: dict[str, Tensor] | None = None,
    summary: Sequence[str],
    following: str | None,
) -> Path:
    """Write model and processor, print the summary and the next command, and return the folder.

    The folder appears only if `check` accepts it. `state_dict` is what to store in place of the model's own.
    """
    with atomic_files(folder) as unfinished:
        model.save_pretrained(unfinished, **({} if state_dict is None else {"state_dict": state_dict}))
        save_processor(unfinished)
        check(unfinished)
    print(f"{type(model).__name__} of {model.num_parameters():,} parameters{summary[0]}", *summary[1:], sep="\n")
    print(f"The model is in {folder}." + (f" Next: {following}" if following else ""))
    return folder


def list_dropped(dropped: Counter[str]) -> str:
    """Return the line about entries of a checkpoint that were not needed."""
    kinds = [kind if kind.isprintable() else ascii(kind) for kind in sorted(dropped)]
    counts = [f"{count} of {kind}" for kind, (_, count) in zip(kinds, sorted(dropped.items()), strict=True)]
    more = f" and {len(counts) - MAX_KINDS:,} kinds more" if len(counts) > MAX_KINDS else ""
    return f"Left out as not needed: {', '.join(counts[:MAX_KINDS]) or 'nothing'}{more}."


__all__ = ["SavedModel", "check_vocabulary", "list_dropped", "name_file", "refuse_existing", "write_folder"]
