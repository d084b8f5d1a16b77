"""Pickles from anywhere, of which nothing is run but what the caller admits."""

import pickle
from collections.abc import Callable, Mapping
from typing import BinaryIO

Admitted = Mapping[tuple[str, str], Callable[..., object]]  # (module, name) as the pickle has it -> what stands for it


class UnsafePickleError(ValueError):
    """A pickle refers to something that is not admitted."""


class _RestrictedUnpickler(pickle.Unpickler):
    def __init__(self, stream: BinaryIO, admitted: Admitted, encoding: str) -> None:
        super().__init__(stream, encoding=encoding)
        self._admitted = admitted

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        if (module, name) not in self._admitted:
            raise UnsafePickleError(f"it refers to {module}.{name}, which could run code")
        return self._admitted[module, name]


def read_pickle(stream: BinaryIO, admitted: Admitted, *, encoding: str = "ASCII") -> object:
    """Return what a pickle of plain containers and values holds.

    Args:
        admitted: what it may refer to besides, and what is called in its place.
        encoding: of the strings that Python 2 wrote.

    Raises:
        UnsafePickleError: it refers to anything else, of which nothing is run.
        ValueError: it is damaged.
    """
    try:
        return _RestrictedUnpickler(stream, admitted, encoding).load()
    except (UnsafePickleError, OSError, MemoryError):
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise ValueError(f"its pickle is damaged ({type(error).__name__}: {error})") from error


__all__ = ["UnsafePickleError", "read_pickle"]
