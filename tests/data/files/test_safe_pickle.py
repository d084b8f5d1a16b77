import io
import os
import pickle
from fractions import Fraction

import pytest
from wenlan.data.files.safe_pickle import UnsafePickleError, read_pickle


class RunsCode:
    """Unpickled carelessly, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


def test_what_is_admitted_is_called_and_plain_containers_need_nothing():
    value = {"a": [1, (2.5, None)], "b": {"蛙"}, "c": Fraction(1, 3)}
    admitted = {("fractions", "Fraction"): lambda *parts: f"not run: {parts}"}
    assert read_pickle(io.BytesIO(pickle.dumps(value)), admitted) == value | {"c": "not run: (1, 3)"}


def test_anything_else_is_refused_by_name_and_not_run(tmp_path):
    data = pickle.dumps({"x": [RunsCode(tmp_path / "ran")]})
    with pytest.raises(UnsafePickleError, match=r"refers to posix\.system, which could run code"):
        read_pickle(io.BytesIO(data), {("posix", "getpid"): os.getpid, ("os", "system"): os.system})
    assert not (tmp_path / "ran").exists()
    pickle.loads(data)  # else the lines above would show nothing
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("data", [b"", b"text", pickle.dumps([1, 2])[:-3]])
def test_damaged_pickle_is_a_value_error(data):
    with pytest.raises(ValueError, match="its pickle is damaged"):
        read_pickle(io.BytesIO(data), {})
