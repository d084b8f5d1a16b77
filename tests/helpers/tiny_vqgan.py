"""A VQGAN with random weights: 16 x 16 pixels, codes of 2 x 2."""

from typing import TYPE_CHECKING

import torch
from wenlan.training.vqgan.model import VQGANArguments, build_vqgan

if TYPE_CHECKING:
    from diffusers.models.autoencoders.vq_model import VQModel

CODES = 16


def build_tiny_vqgan() -> "VQModel":
    """Returns one whose codes differ as much as those of a trained one."""
    torch.manual_seed(0)
    model = build_vqgan(VQGANArguments(channels=[8, 16], norm_groups=4, codes=CODES, code_channels=4), 16)
    torch.nn.init.normal_(model.quantize.embedding.weight)
    return model.eval()


__all__ = ["CODES", "build_tiny_vqgan"]
