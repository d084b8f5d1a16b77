"""Pickles of tensors from anywhere, rebuilt by code of ours.

As in `safe_pickle`, the machine knows only the instructions of plain values and containers; of each tensor it takes a
type, a shape and the bytes of its storage. Whatever else a file holds beside its weights, a namespace of options or the
state of an optimizer, is neither looked up nor called: a `Skipped` stands in its place.
"""

import builtins
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar

import torch
from torch import Tensor

from ..safe_pickle import BYTES_NAMES, KEYS, ArrayUnpickler, StandIn, UnsafePickleError

# Nothing of these is run either; a file that asks for them is an attack on whoever reads it otherwise.
CODE = ("os", "posix", "nt", "sys", "subprocess", "importlib", "runpy", "shutil", "pty", "io.open", "_io.open")
ANY_SIZE = 2**24  # elements that a tensor may have beyond those of its storage, which it repeats

STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "UntypedStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "QInt8Storage": torch.int8,  # of quantised tensors, which are skipped: the place of the next storage
    "QUInt8Storage": torch.uint8,
    "QInt32Storage": torch.int32,
}


@dataclass(frozen=True, slots=True)
class Skipped:
    """A stand-in for an object of the file that is no tensor and no plain value; `name`: what made it."""

    name: str


@dataclass(frozen=True, slots=True)
class Storage:
    """The reference of a pickle to the bytes of tensors."""

    key: str
    dtype: torch.dtype
    view: tuple[str, int, int] | None = None  # (key, offset, elements) of a part, before PyTorch 0.4


def _rebuild_tensor(storage: object, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> object:
    """Return the tensor in a storage (n,); PyTorch itself refuses one that would reach beyond it."""
    if not isinstance(storage, Tensor):
        return storage  # of a kind that is skipped
    if math.prod(size) > max(len(storage), ANY_SIZE):
        raise ValueError(f"a tensor of {math.prod(size):,} numbers from {len(storage):,}")
    return storage.as_strided(size, stride, offset)


def _rebuild_from_type(function: object, _: object, arguments: tuple[Any, ...], *__: object) -> object:
    return function.call(*arguments) if isinstance(function, StandIn) else function


_NAMES = {
    **BYTES_NAMES,
    ("collections", "OrderedDict"): StandIn(lambda *_: {}),
    ("collections", "defaultdict"): StandIn(lambda *_: {}),
    ("torch", "Size"): StandIn(tuple),
    ("torch._utils", "_rebuild_tensor"): StandIn(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): StandIn(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): StandIn(lambda data, *_: data),
    ("torch._utils", "_rebuild_parameter_with_state"): StandIn(lambda data, *_: data),
    ("torch._tensor", "_rebuild_from_type_v2"): StandIn(_rebuild_from_type),
}


def _runs_code(module: str, name: str) -> bool:
    if module in ("builtins", "__builtin__"):  # getattr: how Python 3.11 pickles the member of an enumeration
        found = getattr(builtins, name, None)
        return name != "getattr" and callable(found) and not isinstance(found, type)
    return not {module.split(".")[0], f"{module}.{name}"}.isdisjoint(CODE)


class TensorUnpickler(ArrayUnpickler):
    """Read one pickle of a stream, the tensors of which lie in storages outside of it.

    Args:
        storages: returns the numbers (n,) of a storage, or something else to skip the tensors in it.
        load_bytes: returns those of a storage that a pickle without `torch.save` holds itself.
    """

    readline: Callable[[], bytes]

    def __init__(
        self, stream: BinaryIO, storages: Callable[[Storage], object], load_bytes: Callable[[bytes], object]
    ) -> None:
        super().__init__(stream, encoding="latin1")
        self.storages, self.load_bytes = storages, load_bytes

    def find_class(self, module: str, name: str) -> object:
        """Return what stands for a name of the file; nothing is imported."""
        if _runs_code(module, name):
            raise UnsafePickleError(f"it refers to {module[:80]}.{name[:80]}, which could run code")
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return StandIn(self.load_bytes)
        if module.split(".")[0] == "torch" and name in STORAGES:
            return STORAGES[name]
        full = f"{module}.{name}"[:160]
        return _NAMES.get((module, name)) or Skipped(full if full.isprintable() else ascii(full))

    def _call(self) -> None:
        arguments, name = self.stack.pop(), self.stack[-1]
        self.stack[-1] = name.call(*arguments) if isinstance(name, StandIn) else self._skip(name)

    def _skip(self, name: object) -> Skipped:
        return name if isinstance(name, Skipped) else Skipped(type(name).__name__)

    def _drop_state(self) -> None:
        self.stack.pop()

    def _make_object(self) -> None:
        self.stack.pop()
        self.stack[-1] = self._skip(self.stack[-1])

    def _make_object_with_keywords(self) -> None:
        self.stack.pop()
        self._make_object()

    def _make_old_object(self) -> None:
        name, *_ = self.pop_mark()
        self.append(self._skip(name))

    def _make_named_object(self) -> None:
        module, name = (self.readline()[:-1].decode("latin1") for _ in range(2))
        self.pop_mark()
        self.append(self._skip(self.find_class(module, name)))

    def _make_set(self) -> None:
        self.append(Skipped("set"))

    def _make_frozen_set(self) -> None:
        self.pop_mark()
        self._make_set()

    def _add_items(self) -> None:
        self.pop_mark()

    def _append_item(self) -> None:
        item = self.stack.pop()
        self._extend_list(self.stack[-1], [item])

    def _append_items(self) -> None:
        items = self.pop_mark()
        self._extend_list(self.stack[-1], items)

    def _extend_list(self, target: object, items: list[Any]) -> None:
        if isinstance(target, list):
            target.extend(items)

    def _fill(self, target: object, items: list[Any]) -> None:
        if isinstance(target, dict):
            pairs = zip(items[::2], items[1::2], strict=True)
            target.update((key, value) for key, value in pairs if type(key) in KEYS)

    def _load_storage(self) -> None:
        kind, dtype, *place = self.stack.pop()  # or "module" and the class of one, with its source
        if kind == "storage" and isinstance(dtype, torch.dtype):
            key, _, _, *view = place
            self.append(self.storages(Storage(key, dtype, *view)))
        else:
            self.append(self._skip(dtype))

    dispatch: ClassVar[dict[int, Any]] = ArrayUnpickler.dispatch | {
        instruction[0]: function
        for instruction, function in (
            (pickle.REDUCE, _call),
            (pickle.BUILD, _drop_state),
            (pickle.NEWOBJ, _make_object),
            (pickle.NEWOBJ_EX, _make_object_with_keywords),
            (pickle.OBJ, _make_old_object),
            (pickle.INST, _make_named_object),
            (pickle.EMPTY_SET, _make_set),
            (pickle.FROZENSET, _make_frozen_set),
            (pickle.ADDITEMS, _add_items),
            (pickle.APPEND, _append_item),
            (pickle.APPENDS, _append_items),
            (pickle.BINPERSID, _load_storage),
        )
    }


__all__ = ["Skipped", "Storage", "TensorUnpickler"]
