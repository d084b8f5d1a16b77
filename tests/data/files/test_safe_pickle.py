import os
import pickle
from collections import OrderedDict
from fractions import Fraction

import numpy as np
import pytest
from wenlan.data.files.safe_pickle import UnsafePickleError, read_array_pickle

FORGED = (3, "|", None, None, None, 8, 8, 0)  # of an object dtype: no flag says that its bytes are pointers


class Call:
    """Pickled, it calls a function and gives the result a state, whatever they are."""

    def __init__(self, name, *arguments, state=None):
        self.name, self.arguments, self.state = name, arguments, state


def pickled(value, protocol=2):
    """Return a pickle of plain values and `Call`s, written by hand."""
    return pickle.PROTO + bytes([protocol]) + _instructions(value) + pickle.STOP


def _instructions(value):
    if isinstance(value, Call):
        module, name = value.name.rsplit(".", 1)
        built = f"c{module}\n{name}\n".encode() + _instructions(value.arguments) + pickle.REDUCE
        return built if value.state is None else built + _instructions(value.state) + pickle.BUILD
    if isinstance(value, tuple):
        return pickle.MARK + b"".join(map(_instructions, value)) + pickle.TUPLE
    if isinstance(value, list):
        return pickle.EMPTY_LIST + pickle.MARK + b"".join(map(_instructions, value)) + pickle.APPENDS
    if isinstance(value, dict):
        items = b"".join(_instructions(part) for item in value.items() for part in item)
        return pickle.EMPTY_DICT + pickle.MARK + items + pickle.SETITEMS
    if isinstance(value, type):
        return f"c{value.__module__}\n{value.__name__}\n".encode()
    return pickle.dumps(value, 3)[2:-1]


def dtype(code="f4", state=(3, "<", None, None, None, -1, -1, 0)):
    return Call("numpy.dtype", code, False, True, state=state)


def array(code="f4", shape=(2,), content=b"\0" * 8, *, is_fortran=False, **state):
    reconstruct = ("numpy._core.multiarray._reconstruct", np.ndarray, (0,), b"b")
    return Call(*reconstruct, state=(1, shape, dtype(code, **state), is_fortran, content))


VALUES = {
    "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "big_endian": np.arange(3, dtype=">f4"),
    "half": np.ones((1, 1), np.float16),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 4), np.float32),
    "zero_dim": np.array(2.5),
    "texts": np.array(["蛙", "dog"]),
    "bytes": np.array([b"a", b"bc"]),
    "objects": np.array([None, "名", [1, 2]], object),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("package", [b"numpy._core", b"numpy.core"])
def test_arrays_are_the_same_from_every_protocol_and_numpy(protocol, package):
    data = pickle.dumps(OrderedDict(VALUES), protocol)
    if protocol < 4:  # later ones write the length of a name
        data = data.replace(b"numpy._core", package)
    found = read_array_pickle(data)
    assert type(found) is dict
    assert list(found) == list(VALUES)
    for name, value in VALUES.items():
        assert found[name].tolist() == value.tolist(), name
        assert found[name].dtype == value.dtype.newbyteorder("="), name
        assert found[name].flags.writeable


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_numbers_of_numpy_and_plain_values_are_the_same(protocol):
    value = {"a": [1, (2.5, None)], "b": -(2**70), "c": b"\x80\0", "name": "蛙", 3: True}
    assert read_array_pickle(pickle.dumps(value, protocol)) == value
    scalars = {"f": np.float32(0.5), "i": np.int64(3), "b": np.bool_(True), "t": np.str_("名"), "e": np.str_("")}
    assert read_array_pickle(pickle.dumps(scalars, protocol)) == {"f": 0.5, "i": 3, "b": True, "t": "名", "e": ""}


def test_array_written_by_hand_is_read_so_that_the_attacks_below_are_refused_for_what_they_change():
    assert read_array_pickle(pickled({"x": [array()]}))["x"][0].tolist() == [0, 0]
    content = pickled(array("O8", (1,), [{"a": 1}], state=(3, "|", None, None, None, -1, -1, 63)))
    assert read_array_pickle(content).tolist() == [{"a": 1}]


ATTACKS = {
    # An object dtype that says of itself that it holds none: bytes of the file would become pointers.
    "forged flags": array("O8", (1,), b"A" * 8, state=FORGED),
    "forged flags in a buffer": Call("numpy._core.numeric._frombuffer", b"A" * 8, dtype("O8", FORGED), (1,), "C"),
    "forged flags in a scalar": Call("numpy._core.multiarray.scalar", dtype("O8", FORGED), b"A" * 8),
    "objects in a structure": array(
        "f4", (1,), b"A" * 8, state=(3, "|", None, ("a",), {"a": (dtype("O8"), 0)}, 8, 1, 0)
    ),
    "structure by its code": array("f4,O", (1,), b"A" * 12),
    "structure by its byte order": array("f4", (1,), b"A" * 12, state=(3, "O,", None, None, None, -1, -1, 0)),
    "subarray by its byte order": array("f4", (1,), b"A" * 12, state=(3, "3", None, None, None, -1, -1, 0)),
    "subarray by its state": array("V8", (1,), b"A" * 8, state=(3, "|", (dtype("O8"), (1,)), None, None, 8, 8, 0)),
    "nested dtype": Call("numpy.dtype", dtype("O8", FORGED)),
    "dtype of a list": Call("numpy.dtype", [("a", "O")]),
    "dates": array("M8[s]", (1,), b"A" * 8),
    "void": array("V8", (1,), b"A" * 8),
    "too few bytes": array("f4", (3,), b"A" * 8),
    "too many bytes": array("f4", (1,), b"A" * 8),
    "negative shape": array("f4", (-1, -2), b"A" * 8),
    "shape of truth values": array("f4", (True, 2), b"A" * 8),
    "shape that is no tuple": array("f4", 2, b"A" * 8),
    "shape without end": array("S0", (10**15,), b""),
    "bytes of objects": array("O8", (8,), b"A" * 8),
    "objects of numbers": array("f4", (2,), [1.0, 2.0]),
    "objects that are too few": array("O8", (3,), [1]),
    "letters beyond all alphabets": array("U1", (1,), b"\xff\xff\xff\xff"),
    "buffer of no bytes": Call("numpy._core.numeric._frombuffer", [1, 2], dtype(), (2,), "C"),
    "buffer with an odd order": Call("numpy._core.numeric._frombuffer", b"A" * 8, dtype(), (2, 5), "K"),
    "buffer without a type": Call("numpy._core.numeric._frombuffer", b"A" * 8, "f4", (2,), "C"),
    "codec that runs": Call("_codecs.encode", b"A", "zlib"),
    "codec of no text": Call("_codecs.encode", [1], "latin1"),
    "array that is never filled": Call("numpy._core.multiarray._reconstruct", np.ndarray, (0,), b"b"),
    "array of claimed size": Call("numpy.ndarray", (10**15,)),
    "type alone": dtype(),
    "class alone": np.ndarray,
    "state of a function": Call("_codecs.encode", "a", state={"a": 1}),
    "key that is a deep tuple": {((((1,),),),): 1},
    "key that is a type": {np.ndarray: 1},
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_a_value_error(name):
    with pytest.raises(ValueError, match=r"^(its pickle is damaged|it (holds|makes|refers))"):
        read_array_pickle(pickled({"x": ATTACKS[name]} if not isinstance(ATTACKS[name], dict) else ATTACKS[name]))


def test_size_that_a_dtype_claims_for_itself_is_not_believed():
    value = array("f4", (1,), b"\0" * 4, state=(3, "<", None, None, None, 2**40, 1, 8))
    assert read_array_pickle(pickled(value)).tolist() == [0]


def test_state_of_a_name_does_not_change_what_the_next_file_finds():
    poison = b"\x80\x02c_codecs\nencode\nN}(X\x08\x00\x00\x00__call__K\x01u\x86b."
    with pytest.raises(UnsafePickleError, match="objects that are no arrays"):
        read_array_pickle(poison)
    assert read_array_pickle(pickle.dumps(VALUES["matrix"], 2)).shape == (2, 3)


class RunsCode:
    """Unpickled carelessly, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_anything_else_is_refused_by_name_and_not_run(tmp_path, protocol):
    data = pickle.dumps({"x": [RunsCode(tmp_path / "ran")]}, protocol)
    with pytest.raises(UnsafePickleError, match=r"refers to posix\.system, which could run code"):
        read_array_pickle(data)
    assert not (tmp_path / "ran").exists()
    pickle.loads(data)  # else the lines above would show nothing
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Fraction(1, 3)),
        pickle.dumps({1, 2}, 4),
        b"(S'touch x'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'touch x'\no.",  # OBJ
        b"\x80\x02\x82\x01.",  # a name of copyreg's registry
        b"\x80\x02Pid\n.",  # a persistent id
        b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
        b"\x80\x02cnumpy\nndarray\n)\x81.",  # NEWOBJ
    ],
)
def test_instructions_that_make_objects_are_refused(data):
    with pytest.raises(UnsafePickleError, match="which could run code"):
        read_array_pickle(data)


@pytest.mark.parametrize("data", [b"", b"text", pickle.dumps([1, 2])[:-3], b"\x80\x02(", b"\x80\x02]\x94h\x00a."])
def test_damaged_pickle_is_a_value_error(data):
    with pytest.raises(ValueError, match="its pickle is damaged"):
        read_array_pickle(data)


def test_small_files_that_claim_much_are_refused_at_once():
    again_and_again = b"]q\x00" + b"".join(b"(h%ch%clq%c" % (n, n, n + 1) for n in range(40)) + b"."
    shared = b"\x80\x02" + pickle.dumps(b"A" * 10**6, 3)[2:-1] + b"q\x00(" + b"h\x00" * 1000 + b"l."
    for data in (
        b"\x80\x03B\x00\x00\x00\x80",  # bytes of 2 GiB
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x3f.",  # of 4 EiB
        b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x3f.",
        b"\x80\x02Nr\xff\xff\xff\xff0",  # the last place of a memo of 2**32
        b"\x80\x02\x8b\xff\xff\xff\x7f",  # a number of 2 GiB
        b"]q\x00h\x00a.",  # a list that holds itself
        b"]" * 5000 + b"a" * 4999 + b".",
        b"\x80\x02}" + b")" + b"\x85" * 100_000 + b"Ns.",  # whose hash would overrun the stack
        again_and_again,
        shared,
    ):
        with pytest.raises(ValueError, match="its pickle is damaged"):
            read_array_pickle(data)
