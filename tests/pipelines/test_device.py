import pytest
import torch
from wenlan.pipelines.device import choose_device


def test_device_is_the_named_one_or_the_one_that_is_there(monkeypatch):
    assert choose_device("cpu") == "cpu"
    for available, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=available: there)
        assert choose_device() == expected


@pytest.mark.parametrize("name", ["gpu", "meta", "cuda:99", "cpu:x", ""])
def test_device_that_cannot_be_used_is_told_in_a_line(name):
    with pytest.raises(ValueError, match=r"^The device '.*' cannot be used \(.+\); give cpu, cuda") as caught:
        choose_device(name)
    assert "\n" not in str(caught.value)
