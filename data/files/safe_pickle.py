"""Pickled NumPy arrays from anywhere, rebuilt by code of ours.

A pickle is a program for a small machine. This one knows only the instructions that build plain values, lists,
tuples, dictionaries and arrays, and of each array it takes a type code, a shape and bytes. Neither a function nor a
class of NumPy is reached, nor anything else: NumPy's own `dtype.__setstate__` believes whatever flags a file gives
it, and with forged ones takes bytes of the file for objects.
"""

import io
import math
import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NoReturn, TypeGuard

import numpy as np

CODE = re.compile(r"[?]|[fiubc]\d{1,2}|[US]\d{1,9}|O8?")  # numbers, texts, objects; nothing with fields or subarrays
BYTE_ORDERS = ("<", ">", "=", "|")
KEYS = (str, bytes, int, float, bool, type(None))  # of dictionaries; the hash of a deep tuple overruns the C stack
ALLOWANCE = 2**20  # what values may take beyond twice the size of their pickle, where it refers to one several times


class UnsafePickleError(ValueError):
    """A pickle asks for something else than arrays and plain values."""


@dataclass(eq=False, slots=True)
class StandIn:
    """A stand-in for a global name of the file: all it can do is to be called."""

    call: Callable[..., object]


@dataclass(eq=False, slots=True)
class _DataType:
    """A dtype: its code, and the order of its bytes."""

    code: str
    order: str = "="

    def set_state(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]
        if self.order not in BYTE_ORDERS:
            raise ValueError(f"a byte order {str(self.order)[:20]!r}")


@dataclass(eq=False, slots=True)
class _Array:
    """An array, filled when the pickle gives its state."""

    values: np.ndarray | None = None

    def set_state(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, content = state
        self.values = _read(dtype, shape, content, "F" if is_fortran else "C")


class _Dict(dict):
    """A stand-in for an OrderedDict, whose attributes are left out."""

    def set_state(self, state: object) -> None:
        pass


def _make_data_type(code: object, align: bool = False, copy: bool = False) -> _DataType:
    code = code.decode("latin1") if isinstance(code, bytes) else code
    if not isinstance(code, str) or not CODE.fullmatch(code):
        raise UnsafePickleError(f"it holds an array of {str(code)[:40]!r}, not of numbers or texts")
    return _DataType(code)


def _read(dtype: _DataType, shape: object, content: object, order: str = "C") -> np.ndarray:
    if not isinstance(dtype, _DataType) or not _is_shape(shape):
        raise ValueError("an array without a type or a shape")
    direction: Literal["C", "F"] = "F" if order == "F" else "C"
    if dtype.code.startswith("O"):
        if not isinstance(content, list):
            raise ValueError("objects that are no list")
        return np.fromiter(content, object, len(content)).reshape(shape, order=direction)
    raw = content.encode("latin1") if isinstance(content, str) else content  # as Python 2 wrote it
    if not isinstance(raw, bytes | bytearray):
        raise ValueError(f"an array of {dtype.code} from a {type(raw).__name__}")
    return array_from_bytes(raw, np.dtype(dtype.order + dtype.code), shape, order=direction)


def _is_shape(shape: object) -> TypeGuard[tuple[int, ...]]:
    return isinstance(shape, tuple) and all(type(side) is int and side >= 0 for side in shape)


def array_from_bytes(
    raw: bytes | bytearray, dtype: np.dtype, shape: tuple[int, ...], *, order: Literal["C", "F"] = "C"
) -> np.ndarray:
    """Return an array in the byte order of this machine, writable.

    Raises:
        ValueError: the dtype is none of numbers or texts, the bytes do not fill the shape, or are no text.
    """
    if dtype.kind not in "biufcUS":
        raise ValueError(f"an array of {str(dtype)[:80]}, not of numbers or texts")
    if math.prod(shape) * dtype.itemsize != len(raw) or (dtype.itemsize == 0 and math.prod(shape) > 1):
        raise ValueError(f"an array that claims the shape {str(shape)[:80]} of {dtype} and holds {len(raw)} bytes")
    if dtype.kind == "U" and len(raw) and np.frombuffer(raw, dtype.byteorder + "u4").max() > 0x10FFFF:
        raise ValueError("a text of characters that do not exist")  # NumPy fails with a SystemError at its use
    if dtype.kind == "b":  # any other byte than 0 and 1 makes NumPy count wrong
        raw = (np.frombuffer(raw, np.uint8) != 0).tobytes()
    return np.ndarray(shape, dtype, bytearray(raw), order=order).astype(dtype.newbyteorder("="))


# how protocol 2 writes bytes, and no bytes
BYTES_NAMES = {
    ("_codecs", "encode"): StandIn(lambda text, encoding="latin1": str.encode(text, "latin1")),
    ("__builtin__", "bytes"): StandIn(lambda: b""),
}
_NAMES = {
    **BYTES_NAMES,
    ("numpy", "ndarray"): StandIn(lambda *_: _Array()),
    ("numpy", "dtype"): StandIn(_make_data_type),
    ("collections", "OrderedDict"): StandIn(_Dict),
}
for _package in ("numpy.core", "numpy._core"):  # before and since NumPy 2
    _NAMES |= {
        (f"{_package}.multiarray", "_reconstruct"): StandIn(lambda *_: _Array()),
        (f"{_package}.multiarray", "scalar"): StandIn(lambda dtype, content: _read(dtype, (), content).item()),
        (f"{_package}.numeric", "_frombuffer"): StandIn(
            lambda buffer, dtype, shape, order: _Array(_read(dtype, shape, buffer, order))
        ),
    }

# Instructions of plain values. What is missing makes objects of any class, or reads the world around.
_PLAIN = [
    code[0]
    for name, code in vars(pickle).items()
    if re.fullmatch(
        "PROTO|FRAME|STOP|MARK|POP|POP_MARK|DUP|MEMOIZE|(LONG_)?BIN(GET|PUT)|GET|PUT|NONE|NEWTRUE|NEWFALSE|"
        "(BIN)?INT[12]?|LONG[14]?|(BIN)?FLOAT|(SHORT_)?(BIN)?(STRING|UNICODE|BYTES)8?|"
        "(EMPTY_)?TUPLE[123]?|(EMPTY_)?LIST|APPENDS?|EMPTY_DICT|(STACK_)?GLOBAL",
        name,
    )
]


# The one in Python, not in C: it asks for no memory that the file only claims.
class ArrayUnpickler(pickle._Unpickler):
    """The machine: what a file names is a stand-in or refused, and so are instructions that are not listed."""

    stack: list[Any]
    append: Callable[[object], None]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]

    def find_class(self, module: str, name: str) -> object:
        """Return what stands for a name of the file; nothing is imported."""
        if (module, name) not in _NAMES:
            raise UnsafePickleError(f"it refers to {module[:80]}.{name[:80]}, which could run code")
        return _NAMES[module, name]

    def _refuse(self) -> NoReturn:
        raise UnsafePickleError("it makes objects that are no arrays, which could run code")

    def _call(self) -> None:
        arguments, name = self.stack.pop(), self.stack[-1]
        if not isinstance(name, StandIn) or not isinstance(arguments, tuple):
            self._refuse()
        self.stack[-1] = name.call(*arguments)

    def _build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, _DataType | _Array | _Dict):
            self._refuse()
        target.set_state(state)

    def _make_bytearray(self) -> None:
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))  # pickle's own takes what it claims

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill(self.stack[-1], [key, value])

    def _set_items(self) -> None:
        items = self.pop_mark()
        self._fill(self.stack[-1], items)

    def _make_dict(self) -> None:
        content: dict[object, object] = {}
        self._fill(content, self.pop_mark())
        self.append(content)

    def _fill(self, target: object, items: list[Any]) -> None:
        if not isinstance(target, dict) or not all(type(key) in KEYS for key in items[::2]):
            raise ValueError("keys that are neither texts nor numbers")
        target.update(zip(items[::2], items[1::2], strict=True))

    dispatch: ClassVar[dict[int, Any]] = (
        dict.fromkeys(range(256), _refuse)
        | {instruction: pickle._Unpickler.dispatch[instruction] for instruction in _PLAIN}
        | {pickle.REDUCE[0]: _call, pickle.BUILD[0]: _build, pickle.BYTEARRAY8[0]: _make_bytearray}
        | {pickle.SETITEM[0]: _set_item, pickle.SETITEMS[0]: _set_items, pickle.DICT[0]: _make_dict}
    )


def read_array_pickle(data: bytes) -> object:
    """Return what a pickle of NumPy arrays and plain containers holds; an OrderedDict becomes a dictionary.

    Raises:
        UnsafePickleError: it asks for anything else, of which nothing is run.
        ValueError: it is damaged, or claims much more than it holds.
    """
    try:
        value = ArrayUnpickler(io.BytesIO(data), encoding="latin1").load()
        return _unwrap(value, [2 * len(data) + ALLOWANCE])
    except UnsafePickleError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise ValueError(f"its pickle is damaged ({type(error).__name__}: {str(error)[:100]})") from error


def _unwrap(value: Any, budget: list[int]) -> Any:
    """Return a value with arrays in place of what stands for them, nothing shared; `budget`: bytes that are left."""
    budget[0] -= getattr(value, "nbytes", len(value) if isinstance(value, str | bytes | bytearray) else 1)
    if budget[0] < 0:
        raise ValueError("it holds the same values again and again")
    if isinstance(value, _Array):
        if value.values is None:
            raise ValueError("an array without content")
        return _unwrap(value.values, budget)
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            items = [_unwrap(item, budget) for item in value.flat]
            return np.fromiter(items, object, len(items)).reshape(value.shape)
        return value
    if isinstance(value, dict):
        return {key: _unwrap(item, budget) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_unwrap(item, budget) for item in value)
    if isinstance(value, StandIn | _DataType):
        raise ValueError("a type without an array")
    return value


__all__ = [
    "BYTES_NAMES",
    "KEYS",
    "ArrayUnpickler",
    "StandIn",
    "UnsafePickleError",
    "array_from_bytes",
    "read_array_pickle",
]
