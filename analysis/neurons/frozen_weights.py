"""Weights that stay as they are while images are optimised through them."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from ...data.files.hashing import hash_weights


@contextmanager
def frozen_weights(*models: nn.Module) -> Iterator[None]:
    """Hold models in evaluation mode without gradients to their weights; set both back at the end.

    Raises:
        RuntimeError: a weight or buffer has changed meanwhile.
    """
    before = [hash_weights("", model.state_dict()) for model in models]
    training = [model.training for model in models]
    trained = [parameter for model in models for parameter in model.parameters() if parameter.requires_grad]
    for model in models:
        model.eval()
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
        for model, mode in zip(models, training, strict=True):
            model.train(mode)
    if before != [hash_weights("", model.state_dict()) for model in models]:
        raise RuntimeError("Frozen weights have changed while images were optimised.")


__all__ = ["frozen_weights"]
