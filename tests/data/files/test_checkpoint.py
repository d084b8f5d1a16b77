"""Checkpoints of others; that a pickle with code is refused is tested where checkpoints are converted."""

import pytest
import torch
from safetensors.torch import save_file
from wenlan.data.files.checkpoint import non_finite_names, read_checkpoint

STATE = {"weight": torch.arange(6.0).reshape(2, 3)}


@pytest.mark.parametrize("suffix", [".pth", ".bin", ".legacy.pth", ".safetensors"])
def test_every_format_gives_the_same_tensors(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    if suffix == ".safetensors":
        save_file(STATE, path)
    else:
        torch.save(STATE, path, _use_new_zipfile_serialization="legacy" not in suffix)
    read = read_checkpoint(path)
    assert read.keys() == STATE.keys()
    assert torch.equal(read["weight"], STATE["weight"])


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.pth"):
        read_checkpoint(tmp_path / "no.pth")


def test_list_of_tensors_is_no_state_dict(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / "a.pth")
    with pytest.raises(ValueError, match="holds a list, not a state dict"):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_tensor_with_one_bad_value_is_named(value, dtype):
    bad = torch.zeros(3, 4, dtype=dtype)
    bad[2, 1] = value
    assert non_finite_names([("good", torch.ones(2)), ("bad", bad), ("count", torch.tensor(2**40))]) == ["bad"]


def test_large_finite_values_and_opposite_infinities():
    large = torch.full((4,), 3e38)  # its sum overflows
    both = torch.tensor([float("inf"), -float("inf")])
    assert non_finite_names({"large": large, "both": both, "empty": torch.empty(0)}.items()) == ["both"]


def test_safetensors_file_whose_length_begins_like_a_pickle_is_read(tmp_path):
    for size in range(400):
        save_file({"weight": torch.ones(2)}, tmp_path / "a.safetensors", metadata={"note": "x" * size})
        if (tmp_path / "a.safetensors").read_bytes()[:1] == b"\x80":
            break
    assert (tmp_path / "a.safetensors").read_bytes()[:1] == b"\x80"
    assert torch.equal(read_checkpoint(tmp_path / "a.safetensors")["weight"], torch.ones(2))
