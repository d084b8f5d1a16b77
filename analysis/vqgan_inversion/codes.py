"""Images that a frozen VQGAN decodes from codes, to be optimised in place of pixels (section 3.2 of the paper).

Latents change; before they are decoded each is replaced by the nearest code, whose gradient it gets. So the result is a
grid of valid codes, whatever the objective.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from ...pipelines.vqgan import decode_latents, embed_codes, encode_images, nearest_codes, reduction, straight_through

if TYPE_CHECKING:
    from diffusers.models.autoencoders.vq_model import VQModel


class CodedImages:
    """A `Parametrization` of images by the latents of a VQGAN.

    Args:
        model: the VQGAN, on the device of the optimisation; its weights get no gradient.
        codes: (b, h, w) to start from.

    Attributes:
        latents: (b, c, h, w), which are optimised.
        decoded: the codes (b, h, w) of the last two images that were decoded, the newest last.
    """

    def __init__(self, model: "VQModel", codes: Tensor) -> None:
        self.model = model
        self.codebook = model.quantize.embedding.weight.detach()  # (v, c)
        self.low, self.high = (bound[:, None, None] for bound in self.codebook.aminmax(dim=0))
        self.latents = embed_codes(self.codebook, codes.to(self.codebook.device)).clone().requires_grad_()
        self.decoded: list[Tensor] = []

    def parameters(self) -> list[Tensor]:
        """Return the latents."""
        return [self.latents]

    def decode(self) -> Tensor:
        """Return the images (b, 3, height, width) in [0, 1], with gradients to the latents."""
        codes = nearest_codes(self.codebook, self.latents.detach())
        self.decoded = [*self.decoded[-1:], codes]
        images = decode_latents(self.model, straight_through(self.latents, embed_codes(self.codebook, codes)))
        return straight_through(images, images.clamp(0, 1))

    @torch.no_grad()
    def project(self) -> None:
        """Clamp each channel to the values that it has in the codebook."""
        self.latents.clamp_(self.low, self.high)

    @torch.no_grad()
    def codes_of(self, images: Tensor) -> Tensor:
        """Return the codes (b, h, w), on the CPU, of images that `decode` gave last or before.

        Raises:
            RuntimeError: it gave none of them.
        """
        for codes in reversed(self.decoded):
            pixels = decode_latents(self.model, embed_codes(self.codebook, codes)).clamp(0, 1)
            if (pixels.cpu() - images).abs().max() < 0.5 / 255:
                return codes.cpu()
        raise RuntimeError("The images are not those that the codes decode to.")


def random_codes(model: "VQModel", seeds: Sequence[int]) -> Tensor:
    """Return codes (b, h, w) that are drawn alike from the codebook, one grid a seed, of the VQGAN's own size."""
    side = image_size(model) // reduction(model)
    drawn = [
        torch.randint(model.config["num_vq_embeddings"], (side, side), generator=torch.Generator().manual_seed(seed))
        for seed in seeds
    ]
    return torch.stack(drawn)


@torch.no_grad()
def codes_of_image(model: "VQModel", image: Image.Image) -> Tensor:
    """Return the codes (1, h, w) of an RGB image, resized to the VQGAN's own size."""
    size = image_size(model)
    pixels = pil_to_tensor(image.resize((size, size), Image.Resampling.LANCZOS))[None] / 255
    return encode_images(model, pixels.to(model.device))


def image_size(model: "VQModel") -> int:
    """Return the side of the images that a VQGAN was trained on, in pixels."""
    size: int = model.config["sample_size"]
    return size


__all__ = ["CodedImages", "codes_of_image", "image_size", "random_codes"]
