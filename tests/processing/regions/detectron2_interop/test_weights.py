import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from wenlan.processing.regions.detectron2_interop import weights as detector_weights
from wenlan.processing.regions.detectron2_interop.weights import read_detector_weights, read_pickled_tensors

ARRAYS = {
    "weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "big_endian": np.arange(3, dtype=">f4"),
    "half": np.ones(2, dtype=np.float16),
    "index": np.arange(3),
    "flag": np.array([True, False]),
    "empty": np.zeros((0, 4), dtype=np.float32),
    "single": np.array(2.5, dtype=np.float32),
}
# What Python 2 writes of {"model": {"w": np.array([1, 2], "<f4")}}: bytes as latin-1 text, numpy.core.
PYTHON_2 = (
    b"\x80\x02}U\x05model}U\x01wcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    b"U\x08\x00\x00\x80?\x00\x00\x00@tbss."
)


def write_pickle(path, content, protocol=pickle.DEFAULT_PROTOCOL):
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", ARRAYS)
def test_array_of_the_model_zoo_becomes_the_same_tensor(name, protocol, tmp_path):
    content = {"model": OrderedDict({name: ARRAYS[name]}), "__author__": "Detectron2 Model Zoo"}
    weights = read_detector_weights(write_pickle(tmp_path / "a.pkl", content, protocol))
    assert weights.keys() == {name}
    assert np.array_equal(weights[name].numpy(), ARRAYS[name])
    assert weights[name].numpy().dtype == ARRAYS[name].dtype.newbyteorder("=")


def test_pickle_of_python_2_is_read(tmp_path):
    (tmp_path / "a.pkl").write_bytes(PYTHON_2)
    assert read_detector_weights(tmp_path / "a.pkl")["w"].tolist() == [1, 2]


def test_number_of_numpy_beside_the_weights_is_read(tmp_path):
    content = read_pickled_tensors(write_pickle(tmp_path / "a.pkl", {"lr": np.float32(0.5), "steps": np.int64(3)}))
    assert content == {"lr": 0.5, "steps": 3}


class RunsCode:
    """Unpickled carelessly, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


@pytest.mark.parametrize("suffix", [".pkl", ".pth", ".bin"])
def test_pickle_that_holds_code_is_refused_and_not_run(suffix, tmp_path):
    trace = tmp_path / "code_ran"
    path = tmp_path / f"evil{suffix}"
    content = {"model": {"w": torch.zeros(2) if suffix != ".pkl" else np.zeros(2)}, "note": RunsCode(trace)}
    torch.save(content, path) if suffix != ".pkl" else write_pickle(path, content)
    with pytest.raises(ValueError, match=r"nothing of it was run: it refers to posix\.system"):
        read_detector_weights(path)
    assert not trace.exists()
    # else the lines above would show nothing
    RunsCode(trace).__reduce__()[0](*RunsCode(trace).__reduce__()[1])
    assert trace.exists()


def numpy_call(module, name, *arguments):
    """A pickle that calls a function of numpy, written by hand."""
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + pickle.dumps(arguments, 2)[2:-1] + b"R."


@pytest.mark.parametrize(
    "call",
    [
        numpy_call("numpy", "load", "a.npy", None, True),
        numpy_call("numpy.testing._private.utils", "runstring", "1", {}),
        numpy_call("builtins", "eval", "1"),
        numpy_call("torch.storage", "_load_from_bytes", b""),
    ],
)
def test_other_functions_cannot_be_reached(call, tmp_path):
    (tmp_path / "a.pkl").write_bytes(call)
    with pytest.raises(ValueError, match="which could run code"):
        read_pickled_tensors(tmp_path / "a.pkl")


def test_huge_array_of_few_bytes_takes_no_memory(tmp_path):
    (tmp_path / "a.pkl").write_bytes(numpy_call("numpy", "ndarray", (10**15,)))
    with pytest.raises(ValueError, match="no pickle of numpy arrays"):
        read_pickled_tensors(tmp_path / "a.pkl")


@pytest.mark.parametrize("array", [np.array([{}], dtype=object), np.array(["a"]), np.zeros(1, [("a", "f4")])])
def test_array_of_anything_but_numbers_is_refused(array, tmp_path):
    with pytest.raises(ValueError, match="not of numbers"):
        read_pickled_tensors(write_pickle(tmp_path / "a.pkl", {"w": array}))


LAYOUTS = {
    "bare": lambda state: state,
    "model": lambda state: {"model": state, "iteration": 3},
    "state_dict": lambda state: {"state_dict": state},
    "several GPUs": lambda state: {"model": {f"module.{name}": tensor for name, tensor in state.items()}},
    "other entries": lambda state: {**state, "epoch": 3},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_state_dict_is_found_in_what_trainers_save(layout, tmp_path):
    torch.save(LAYOUTS[layout]({"a.weight": torch.ones(2)}), tmp_path / "a.pth")
    weights = read_detector_weights(tmp_path / "a.pth")
    assert {name: tensor.tolist() for name, tensor in weights.items()} == {"a.weight": [1, 1]}


def test_file_before_pytorch_1_6_and_safetensors_are_read(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors")
    assert all(read_detector_weights(tmp_path / f"a{suffix}").keys() == {"a"} for suffix in (".pth", ".safetensors"))


@pytest.mark.parametrize("suffix", [".pth", ".pkl", ".safetensors"])
@pytest.mark.parametrize("fraction", [0, 0.5, 0.95])
def test_cut_file_is_refused(suffix, fraction, tmp_path):
    path = tmp_path / f"a{suffix}"
    tensor = torch.rand(1000)
    if suffix == ".pth":
        torch.save({"a": tensor}, path)
    elif suffix == ".pkl":
        write_pickle(path, {"model": {"a": tensor.numpy()}})
    else:
        save_file({"a": tensor}, path)
    path.write_bytes(path.read_bytes()[: int(fraction * path.stat().st_size)])
    with pytest.raises(ValueError, match=f"a{suffix} is no .*nothing of it was run"):
        read_detector_weights(path)


@pytest.mark.parametrize("content", [torch.zeros(2), {"epoch": 3}, {}])
def test_file_without_tensors_by_name_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"holds a Tensor|holds no tensors by name"):
        read_detector_weights(tmp_path / "a.pth")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.pth"):
        read_detector_weights(tmp_path / "no.pth")


def test_file_larger_than_any_detector_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(detector_weights, "MAX_BYTES", 100)
    torch.save({"a": torch.zeros(100)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="above the limit of 100"):
        read_detector_weights(tmp_path / "a.pth")
