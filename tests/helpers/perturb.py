"""Weights that are no start values, so that equality of two models means something."""

from typing import TypeVar

import torch
from torch import nn

Model = TypeVar("Model", bound=nn.Module)


@torch.no_grad()
def perturb(model: Model, seed: int = 1, scale: float = 0.1) -> Model:
    """Moves every float parameter and batch norm statistic; queues stay. Returns the model in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not name.startswith("queue."):
            noise = scale * torch.randn(tensor.shape, generator=generator)
            tensor.add_(noise.abs() if name.endswith("running_var") else noise)
    return model.eval()
