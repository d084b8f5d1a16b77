"""VQGAN as `diffusers.VQModel`: an image as a grid of codes, numbers of the rows of a codebook.

Notation: b images, h w codes, c channels of a code, v codes. Pixels are from -1 to 1 in the model, from 0 to 1 here.
"""

import json
from os import PathLike
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..data.files.hashing import hash_weights
from ..data.files.model_folder import open_pretrained, read_model_config

if TYPE_CHECKING:
    from diffusers.models.autoencoders.vq_model import VQModel


def vqgan_class() -> "type[VQModel]":
    """Return the class of all VQGANs.

    Raises:
        ImportError: diffusers is not installed; the message says how to install it.
    """
    try:
        from diffusers import VQModel
    except ImportError as error:
        raise ImportError("A VQGAN needs the package diffusers: pip install 'wenlan[generation]'") from error
    return VQModel  # type: ignore[return-value]  # diffusers gives its lazy names the types of stand-ins


def open_vqgan(name: str | PathLike[str]) -> "VQModel":
    """Return a VQGAN in evaluation mode and float32.

    Args:
        name: folder or hub id, with weights as safetensors.

    Raises:
        ImportError: diffusers is not installed.
        MissingModelError: there is no such model.
        ValueError: it is of another kind, damaged, or has weights that are missing or not finite.
    """
    model_class = vqgan_class()
    config = read_model_config(name)
    if config is not None and (found := config.get("_class_name")) != "VQModel":
        kind = found or config.get("model_type")
        raise ValueError(f"{name} holds no VQGAN but a {str(kind)[:40]}; train-vqgan and convert vqgan write some.")
    model: VQModel = open_pretrained(
        model_class, name, is_whole=True, use_safetensors=True, torch_dtype=torch.float32, low_cpu_mem_usage=False
    )
    return model.eval()


def hash_vqgan(model: "VQModel") -> str:
    """Return 16 hexadecimal digits that identify the weights and the configuration of a VQGAN."""
    settings = {name: value for name, value in model.config.items() if not name.startswith("_")}
    return hash_weights(json.dumps(settings, sort_keys=True), model.state_dict())


def reduction(model: "VQModel") -> int:
    """Return how many pixels a code is wide and high: the f of a VQGAN."""
    return 2 ** (len(model.config["block_out_channels"]) - 1)


def nearest_codes(codebook: Tensor, latents: Tensor) -> Tensor:
    """Return the numbers (b, h, w) of the rows of a codebook (v, c) that are nearest to latents (b, c, h, w)."""
    return torch.cdist(latents.movedim(1, -1).flatten(1, 2), codebook).argmin(-1).unflatten(1, latents.shape[2:])


def embed_codes(codebook: Tensor, codes: Tensor) -> Tensor:
    """Return the rows (b, c, h, w) of a codebook (v, c) that codes (b, h, w) name."""
    return codebook[codes].movedim(-1, 1)


def straight_through(values: Tensor, replaced: Tensor) -> Tensor:
    """Return what replaces values, of the same shape; its gradient goes to the values as if they had stayed."""
    return values + (replaced - values).detach()


def decode_latents(model: "VQModel", latents: Tensor) -> Tensor:
    """Return images (b, 3, height, width) of quantized latents (b, c, h, w); pixels may leave 0 to 1 a little."""
    # VQModel would quantize once more, and the latents would get no gradient.
    pixels: Tensor = model.decode(latents, force_not_quantize=True).sample
    return pixels / 2 + 0.5


def decode_codes(model: "VQModel", codes: Tensor) -> Tensor:
    """Return the images (b, 3, height, width) of codes (b, h, w), from 0 to 1."""
    return decode_latents(model, embed_codes(model.quantize.embedding.weight, codes)).clamp(0, 1)


def encode_images(model: "VQModel", images: Tensor) -> Tensor:
    """Return the codes (b, h, w) of images (b, 3, height, width) from 0 to 1."""
    return nearest_codes(model.quantize.embedding.weight, model.encode(images * 2 - 1).latents)


__all__ = [
    "decode_codes",
    "decode_latents",
    "embed_codes",
    "encode_images",
    "hash_vqgan",
    "nearest_codes",
    "open_vqgan",
    "reduction",
    "straight_through",
    "vqgan_class",
]
