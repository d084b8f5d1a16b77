"""The device that a user names, or the one that is there."""

import torch


def choose_device(name: str | None = None) -> str:
    """Return the device of this name, or without a name a GPU if there is one, else the CPU.

    Raises:
        ValueError: there is no such device.
    """
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name).cpu()
    except (RuntimeError, AssertionError, ImportError) as error:  # as the build of PyTorch has it
        reason = str(error).partition(".")[0].partition("\n")[0][:200]
        raise ValueError(
            f"The device {name!r} cannot be used ({reason}); give cpu, cuda or cuda:NUMBER, or leave it out."
        ) from error
    return name


__all__ = ["choose_device"]
