"""Reconstructions of a trained VQGAN on drawings of a style that it never saw, beside those by the mean image."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from ...analysis.plots.image_grid import PLAIN, Cell, draw_grid
from ...data.files.atomic import atomic_file
from ...evaluation.zero_shot.metrics import draw_means
from ...pipelines.vqgan import decode_codes, encode_images
from .data import DrawingsOnBackgrounds, take_evenly

if TYPE_CHECKING:
    from diffusers.models.autoencoders.vq_model import VQModel

MEAN_OF = 500  # drawings that make the mean image
SHOWN, SIDE = 8, 96  # images in the figure, and their side in pixels


def psnr(images: Tensor, others: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio (b,) in dB of images (b, 3, h, w) from 0 to 1."""
    return -10 * (images - others).square().mean(dim=(1, 2, 3)).clamp(min=1e-10).log10()


@torch.inference_mode()
def evaluate_vqgan(
    model: "VQModel", unseen: DrawingsOnBackgrounds, trained: DrawingsOnBackgrounds, *, batch_size: int, seed: int = 0
) -> dict[str, object]:
    """Return the PSNR of what is encoded and decoded again, and the fraction of the codes that occur.

    Args:
        model: in evaluation mode.
        unseen: as stored, of a style that was not trained on.
        trained: of the styles that were; their mean image, as stored, is the control.
        batch_size: images at a time.
        seed: of the interval.

    Returns:
        `psnr` with its 95 % `psnr_interval` over the `n` images, `psnr_of_mean_image`, `codes`, `codes_used_fraction`.
    """
    device = next(model.parameters()).device
    few = take_evenly(trained.drawings, MEAN_OF)
    seen = torch.cat(list(DrawingsOnBackgrounds(few, trained.args, as_stored=True).batches(batch_size)))
    mean_image = seen.mean(dim=0, keepdim=True)
    found, by_mean = [], []
    used = torch.zeros(model.config["num_vq_embeddings"], dtype=torch.bool)
    for images in unseen.batches(batch_size):
        codes = encode_images(model, images.to(device))
        used[codes.flatten().cpu()] = True
        found.append(psnr(decode_codes(model, codes).cpu(), images))
        by_mean.append(psnr(mean_image, images))
    values = torch.cat(found).double().numpy()
    means = draw_means(values[:, None], seed=seed)
    return {
        "n": len(values),
        "psnr": float(values.mean()),
        "psnr_interval": np.percentile(means, [2.5, 97.5]).tolist(),
        "psnr_of_mean_image": float(torch.cat(by_mean).mean()),
        "codes": len(used),
        "codes_used_fraction": float(used.float().mean()),
    }


@torch.inference_mode()
def draw_reconstructions(model: "VQModel", unseen: DrawingsOnBackgrounds, path: Path) -> None:
    """Write a PNG: images of the unseen style, evenly spaced, above what the codes make of them."""
    shown = DrawingsOnBackgrounds(take_evenly(unseen.drawings, SHOWN), unseen.args, as_stored=True)
    (images,) = shown.batches(SHOWN)
    device = next(model.parameters()).device
    decoded = decode_codes(model, encode_images(model, images.to(device))).cpu()
    rows = [
        [Cell(to_pil_image(image).resize((SIDE, SIDE)), [(text, PLAIN)]) for image in batch]
        for text, batch in (("image", images), ("decoded", decoded))
    ]
    with atomic_file(path) as unfinished:
        draw_grid("An unseen style, encoded and decoded", rows, language="en").save(unfinished, format="PNG")


__all__ = ["draw_reconstructions", "evaluate_vqgan", "psnr"]
