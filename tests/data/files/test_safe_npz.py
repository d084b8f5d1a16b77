import io
import os
import pickle
import zipfile

import numpy as np
import pytest
from wenlan.data.files import safe_npz
from wenlan.data.files.safe_npz import PickledArrayError, read_npz

ARRAYS = {
    "x": np.arange(6, dtype=np.float32).reshape(2, 3),
    "text": np.str_("名"),
    "number": np.asarray(3),
    "empty": np.zeros((0, 4), np.float16),
    "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
}


def saved(save=np.savez_compressed, **arrays):
    stream = io.BytesIO()
    save(stream, **arrays)
    return stream.getvalue()


def boxed(value):
    array = np.empty((), object)
    array[()] = value
    return array


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_flat_arrays_are_read_without_any_pickle(save, monkeypatch):
    monkeypatch.setattr(safe_npz, "read_array_pickle", None)
    arrays = read_npz(saved(save, **ARRAYS), allow_pickle=True)
    assert arrays.keys() == ARRAYS.keys()
    assert all(
        np.array_equal(arrays[name], array) and arrays[name].dtype == array.dtype for name, array in ARRAYS.items()
    )


def test_pickled_array_is_refused_unless_allowed():
    with pytest.raises(PickledArrayError, match="info is pickled; allow"):
        read_npz(saved(info=boxed({"a": 1})))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_plain_values_are_read_from_every_protocol(protocol):
    value = {"ids": np.arange(3), "scores": np.float32(0.5), "name": "名", "raw": b"\x80\x00", "list": [1, None, 2.5]}
    array = read_npz(pickled(boxed(value), protocol), allow_pickle=True)["info"].item()
    assert array["ids"].tolist() == [0, 1, 2]
    assert [array[key] for key in ("scores", "name", "raw", "list")] == [0.5, "名", b"\x80\x00", [1, None, 2.5]]


def pickled(array, protocol=4):
    """An .npz file whose `info` has a pickle of any kind behind the header of an object."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": ()})
    data = array if isinstance(array, bytes) else pickle.dumps(array, protocol)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("info.npy", header.getvalue() + data)
    return stream.getvalue()


def test_pickles_of_the_modules_before_numpy_2_are_read():
    data = pickle.dumps(boxed({"ids": np.arange(3)}), 2).replace(b"numpy._core", b"numpy.core")
    assert b"numpy.core.multiarray" in data
    assert read_npz(pickled(data), allow_pickle=True)["info"].item()["ids"].tolist() == [0, 1, 2]


class Attack:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (os.system, ("touch {}",)),
        (eval, ("open({!r}, 'w')",)),
        (exec, ("open({!r}, 'w')",)),
        (open, ("{}", "w")),
        (getattr, ("text", "upper")),
        (np.load, ("{}",)),
        (np.memmap, ("{}", "u1", "w+", 0, (1,))),
        (pickle.loads, (b"N.",)),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_pickle_that_calls_something_is_refused_and_not_run(tmp_path, function, arguments, nested):
    target = tmp_path / "attacked"
    filled = [argument.format(str(target)) if isinstance(argument, str) else argument for argument in arguments]
    attack = Attack(function, *filled)
    data = saved(info=boxed({"ids": [np.arange(2), attack]} if nested else attack))
    with pytest.raises(PickledArrayError, match="may be an attack and was not run"):
        read_npz(data, allow_pickle=True)
    assert not target.exists()
    # The payload does what it says where nothing stops it.
    if function in (os.system, eval, exec):
        np.load(io.BytesIO(data), allow_pickle=True)["info"]
        assert target.exists()


def test_damaged_files_are_errors(tmp_path):
    whole = saved(**ARRAYS)
    for data in (b"", b"text", whole[:-30], whole[: len(whole) // 2], saved(a=boxed(1))[:100]):
        with pytest.raises(ValueError, match="npz"):
            read_npz(data)


def test_damaged_pickle_is_an_error():
    with pytest.raises(ValueError, match="its pickle is damaged"):
        read_npz(pickled(pickle.dumps(boxed({"a": 1}))[:-5]), allow_pickle=True)


def test_pickle_of_something_that_is_no_array_is_an_error():
    with pytest.raises(ValueError, match="something else than its header"):
        read_npz(pickled({"a": 1}), allow_pickle=True)


@pytest.mark.parametrize("arrays", [{"x": np.zeros(1000)}, {f"x{number}": np.zeros(30) for number in range(5)}])
def test_size_of_all_members_together_is_limited_before_any_is_read(arrays, monkeypatch):
    monkeypatch.setattr(safe_npz, "MAX_BYTES", 1000)
    monkeypatch.setattr(safe_npz, "array_from_bytes", None)
    with pytest.raises(ValueError, match=r"its \d arrays would have [\d,]+ bytes; 1000 of 1,000 are read"):
        read_npz(saved(**arrays))


def test_number_of_members_is_limited(monkeypatch):
    monkeypatch.setattr(safe_npz, "MAX_ARRAYS", 4)
    with pytest.raises(ValueError, match="its 5 arrays would have"):
        read_npz(saved(**{f"x{number}": np.zeros(0) for number in range(5)}))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_that_numpy_does_not_write_is_refused(method):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive, archive.open("x.npy", "w") as member:
        np.lib.format.write_array(member, np.zeros(10))
    with pytest.raises(ValueError, match=r"x\.npy is compressed in a way that NumPy does not write"):
        read_npz(stream.getvalue())


def test_pipe_device_and_file_of_gigabytes_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "zero.npz").symlink_to("/dev/zero")
    with (tmp_path / "sparse.npz").open("wb") as file:
        file.truncate(6 << 30)
    for name, message in {"pipe": "but a pipe", "zero": "but a device", "sparse": "above the limit"}.items():
        with pytest.raises(ValueError, match=message):
            read_npz(tmp_path / f"{name}.npz")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(2, [("a", "f4")]), "not of numbers or texts"),
        (np.zeros(2, "M8[s]"), "not of numbers or texts"),
        (np.frombuffer(b"\xff\xff\xff\xff", "<U1"), "a text of characters that do not exist"),
    ],
)
def test_flat_array_of_anything_but_numbers_and_texts_is_refused(array, message):
    with pytest.raises(ValueError, match=f"x: .*{message}"):
        read_npz(saved(np.savez, x=array))


def test_truth_values_become_zero_and_one():
    found = read_npz(saved(x=np.frombuffer(b"\x00\x02\xff", bool)))["x"]
    assert found.view(np.uint8).tolist() == [0, 1, 1]


def test_shape_that_the_data_do_not_fill_is_an_error():
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**12,)})
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("x.npy", header.getvalue() + b"1234")
    with pytest.raises(ValueError, match="x: an array that claims the shape"):
        read_npz(stream.getvalue())
