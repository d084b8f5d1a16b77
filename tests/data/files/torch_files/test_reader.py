"""Files of `torch.save` in every layout, and what lies beside the weights: it is skipped and never run."""

import argparse
import collections
import datetime
import enum
import io
import json
import os
import pathlib
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from torch import nn
from wenlan.data.files.checkpoint import read_checkpoint
from wenlan.data.files.torch_files.reader import read_torch_file
from wenlan.data.files.torch_files.unpickler import Skipped

BASE = torch.arange(10.0)
WEIGHTS = {
    "matrix": torch.arange(6.0).reshape(2, 3),
    "transposed": torch.arange(6.0).reshape(2, 3).T,
    "expanded": torch.arange(3).expand(2, 3),
    "half": torch.tensor([1.5, -2]).half(),
    "bfloat16": torch.tensor([1.5, -2]).bfloat16(),
    "double": torch.tensor([0.1], dtype=torch.float64),
    "count": torch.tensor(2**40),
    "mask": torch.tensor([True, False]),
    "empty": torch.empty(0, 3),
    "parameter": nn.Parameter(torch.ones(2)),
    "part": BASE[2:5],
    "whole": BASE,
}


class Options:
    def __init__(self):
        self.rate = 0.1


class Options2(dict):
    pass


class Numbers(list):
    pass


class Kind(enum.Enum):
    ONE = 1


NEIGHBOURS = {
    "step": torch.tensor(3),
    "namespace": argparse.Namespace(rate=0.1, path=pathlib.Path("x"), kind=Kind.ONE),
    "scalar": np.float64(3),
    "arrays": [np.ones((2, 2)), np.array([1, "a"], dtype=object), np.random.default_rng(0).bit_generator.state],
    "classes": [Options(), Options2(a=1), Numbers([1, 2]), nn.Linear(2, 2), datetime.datetime(2021, 5, 1)],
    "containers": [
        {1, 2},
        frozenset([1]),
        collections.Counter("aab"),
        collections.deque([1]),
        range(3),
        bytearray(b"x"),
    ],
    "odd keys": {(1, 2): 3, None: 4, ...: 5},
    "defaults": collections.defaultdict(list, {"a": [1]}),
    "of torch": [torch.Size([1, 2]), torch.device("cpu"), torch.float32, torch.ones(2).untyped_storage()],
    "odd tensors": [torch.eye(3).to_sparse(), torch.empty(2, device="meta"), torch.ones(2).to(torch.float8_e4m3fn)],
    "generator": torch.Generator().get_state(),
    "large": 2**100,
}
LAYOUTS = {
    "zip": lambda value, protocol: save(value, pickle_protocol=protocol),
    "row of pickles": lambda value, protocol: save(
        value, pickle_protocol=protocol, _use_new_zipfile_serialization=False
    ),
    "plain pickle": lambda value, protocol: pickle.dumps(value, protocol),
}


def save(value, **options):
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


def read(data):
    return read_torch_file(memoryview(bytearray(data)))


pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol", "ignore:TypedStorage", "ignore:.*sparse")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_are_read_whatever_lies_beside_them(layout, protocol):
    data = LAYOUTS[layout]({"learnable": WEIGHTS, **NEIGHBOURS}, protocol)
    content = read(data)
    assert list(content) == ["learnable", *NEIGHBOURS]
    for name, expected in WEIGHTS.items():
        found = content["learnable"][name]
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert torch.equal(found, expected), name
    assert content["namespace"] == Skipped("argparse.Namespace")
    assert content["odd keys"] == {None: 4}
    assert content["containers"][0] == Skipped("set" if protocol > 3 else f"{set.__module__}.set") or protocol == 2


@pytest.mark.parametrize("layout", ["zip", "row of pickles"])
def test_tensors_of_one_storage_still_share_it(layout):
    content = read(LAYOUTS[layout](WEIGHTS, 2))
    assert content["part"].data_ptr() == content["whole"][2:].data_ptr()


def test_state_dict_of_a_module_is_a_plain_dictionary():
    state = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).state_dict()
    content = read(save(state))
    assert type(content) is dict
    assert all(torch.equal(content[name], tensor) for name, tensor in state.items())


def test_bytes_of_the_other_order_are_turned():
    little, stream = io.BytesIO(save({"a": torch.tensor([1.0, 2.5]), "b": torch.tensor([7])})), io.BytesIO()
    with zipfile.ZipFile(little) as source, zipfile.ZipFile(stream, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("byteorder"):
                data = b"big"
            elif "/data/" in name:
                kind = "<f4" if data.startswith(b"\0\0\x80?") else "<i8"
                data = np.frombuffer(data, kind).byteswap().tobytes()
            target.writestr(name, data)
    content = read(stream.getvalue())
    assert (content["a"].tolist(), content["b"].tolist()) == ([1, 2.5], [7])
    torch.serialization.set_default_load_endianness(None)
    assert torch.load(io.BytesIO(stream.getvalue()), weights_only=True)["a"].tolist() == [1, 2.5]


def test_tensors_change_in_memory_alone(tmp_path):
    torch.save(WEIGHTS, tmp_path / "a.pth")
    before = (tmp_path / "a.pth").read_bytes()
    read_checkpoint(tmp_path / "a.pth")["matrix"].fill_(9)
    assert (tmp_path / "a.pth").read_bytes() == before


class Leaves:
    """Unpickled carelessly, it makes a file; `ways`: what is called with which arguments."""

    def __init__(self, way):
        self.way = way

    def __reduce__(self):
        return self.way


class Builder:
    """Makes a file when its state is given to it."""

    def __setstate__(self, state):
        pathlib.Path(state).touch()

    def __reduce__(self):
        return Builder, (), self.path


def ways(path):
    builder = Builder()
    builder.path = str(path)
    return {
        "system": Leaves((os.system, (f"touch '{path}'",))),
        "open": Leaves((open, (str(path), "w"))),
        "exec": Leaves((exec, (f"open({str(path)!r}, 'w')",))),
        "makedirs": Leaves((os.makedirs, (str(path),))),
        "method": Leaves((pathlib.Path(path).touch, ())),
        "state": builder,
    }


def leaves_a_trace(layout, way, trace):
    """Yields the bytes in which a way to make a file lies beside weights."""
    for protocol in (2, 4):
        yield LAYOUTS[layout]({"learnable": WEIGHTS, "note": ways(trace)[way]}, protocol)


@pytest.mark.parametrize("way", ["system", "open", "exec", "makedirs"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_file_that_asks_for_code_is_refused_and_not_run(layout, way, tmp_path):
    for data in leaves_a_trace(layout, way, tmp_path / "trace"):
        with pytest.raises(ValueError, match=r"^it refers to (posix|os|_?io|__builtin__|builtins)\.\w+, which could"):
            read(data)
    assert not (tmp_path / "trace").exists()
    careless(layout, data)
    assert (tmp_path / "trace").exists()  # else the lines above would show nothing


@pytest.mark.parametrize("way", ["method", "state"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_object_that_would_run_code_is_skipped_and_not_run(layout, way, tmp_path):
    for data in leaves_a_trace(layout, way, tmp_path / "trace"):
        content = read(data)
        assert torch.equal(content["learnable"]["matrix"], WEIGHTS["matrix"])
        assert isinstance(content["note"], Skipped)
    assert not (tmp_path / "trace").exists()
    careless(layout, data)
    assert (tmp_path / "trace").exists()


def careless(layout, data):
    return pickle.loads(data) if layout == "plain pickle" else torch.load(io.BytesIO(data), weights_only=False)


def rebuilt(*arguments):
    """Returns a zip of torch.save whose tensor is made with these arguments after its storage."""
    stream = io.BytesIO()
    torch.save({"a": torch.zeros(4)}, stream)

    class Tensor(pickle.Pickler):
        def persistent_id(self, value):
            return ("storage", torch.FloatStorage, "0", "cpu", 4) if value is REFERENCE else None

    out = io.BytesIO()
    pickler = Tensor(out, 2)
    pickler.dump({"a": Leaves((torch._utils._rebuild_tensor_v2, (REFERENCE, *arguments, False, {})))})
    target = io.BytesIO()
    with zipfile.ZipFile(stream) as source, zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            archive.writestr(name, out.getvalue() if name.endswith("data.pkl") else source.read(name))
    return target.getvalue()


REFERENCE = object()


def test_tensor_made_by_hand_is_read_as_torch_reads_it():
    data = rebuilt(1, (2,), (2,))
    assert read(data)["a"].tolist() == torch.load(io.BytesIO(data), weights_only=True)["a"].tolist() == [0, 0]


@pytest.mark.parametrize(
    "arguments",
    [
        (0, (5,), (1,)),
        (3, (2,), (1,)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (10**12,), (0,)),
        (0, (2**62, 4), (1, 1)),
    ],
)
def test_tensor_beyond_its_storage_is_refused(arguments):
    with pytest.raises((ValueError, RuntimeError)):
        read(rebuilt(*arguments))


def legacy_that_claims(count):
    data = save({"a": torch.zeros(4)}, _use_new_zipfile_serialization=False)
    place = data.rindex(struct.pack("<q", 4))
    return data[:place] + struct.pack("<q", count) + data[place + 8 :]


@pytest.mark.parametrize("count", [5, -1, 2**61, 2**62])
def test_storage_beyond_its_file_is_refused(count):
    assert read(legacy_that_claims(4))["a"].tolist() == [0] * 4
    with pytest.raises((ValueError, EOFError, struct.error)):
        read(legacy_that_claims(count))


def test_dictionary_that_holds_itself_is_no_endless_loop():
    content = {"model": {"a": torch.ones(2)}}
    content["model"]["model"] = content["model"]
    assert read(save(content))["model"]["a"].tolist() == [1, 1]


def test_archive_that_was_packed_once_more_is_refused():
    target = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(save(WEIGHTS))) as source,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as zipped,
    ):
        for name in source.namelist():
            zipped.writestr(name, source.read(name))
    with pytest.raises(ValueError, match="packed once more"):
        read(target.getvalue())


def test_archive_of_other_files_names_them():
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("folder/BriVL.pth", json.dumps(3))
    with pytest.raises(ValueError, match=r"with folder/BriVL\.pth: unpack it"):
        read(target.getvalue())


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x05\x96" + struct.pack("<Q", 2**62),  # a bytearray
        b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"abc.",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62),  # bytes
        b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.",  # a frame
        b"\x80\x02\x8b" + struct.pack("<I", 2**31 - 1),  # a number
        b"\x80\x02Nr\xff\xff\xff\xff0",  # the last place of a memo of 2**32
        b"\x80\x02X" + struct.pack("<I", 2**31) + b"text.",
    ],
)
def test_pickle_that_claims_much_is_refused_at_once(content, tmp_path):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"no readable checkpoint|not a state dict"):
        read_checkpoint(tmp_path / "a.pth")


def test_damaged_files_end_in_one_line(tmp_path):
    random, layouts = np.random.default_rng(0), [make({"learnable": WEIGHTS}, 4) for make in LAYOUTS.values()]
    for _ in range(300):
        data = bytearray(layouts[random.integers(len(layouts))])
        for place in random.integers(0, len(data), 3):
            data[place] = random.integers(256)
        (tmp_path / "a.pth").write_bytes(data)
        try:
            read_checkpoint(tmp_path / "a.pth")
        except ValueError as error:
            message = str(error)
            assert len(message.replace(str(tmp_path), "")) <= 400
            assert message.isprintable()


def test_whole_model_is_named_and_not_built(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"holds a torch\.nn\.modules\.linear\.Linear, not a state dict"):
        read_checkpoint(tmp_path / "a.pth")
    (tmp_path / "a.pth").write_bytes(b"\x80\x02cevil\x1b[31m\nName\n)R.")
    with pytest.raises(ValueError, match=r"holds a 'evil\\x1b\[31m\.Name', not a state dict"):
        read_checkpoint(tmp_path / "a.pth")
