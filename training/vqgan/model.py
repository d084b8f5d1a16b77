"""A VQGAN to train without a discriminator: absolute error, codebook and commitment losses, restart of dead codes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import ModelOutput

from ...pipelines.vqgan import decode_latents, embed_codes, nearest_codes, straight_through, vqgan_class
from ..recipe_options import option

if TYPE_CHECKING:
    from diffusers.models.autoencoders.vq_model import VQModel


@dataclass
class VQGANArguments:
    """The VQGAN to train."""

    channels: list[int] = option([16, 32, 64], "of each level; the levels between them halve width and height")
    layers_per_block: int = option(1, "residual blocks of a level", low=1)
    attention: bool = option(True, "attend over all places at the lowest level, as taming's VQGAN does")
    norm_groups: int = option(8, "of the group norms; divides all channels", low=1)
    codes: int = option(512, "rows of the codebook", low=2)
    code_channels: int = option(32, "width of a row", low=1)
    commitment: float = option(0.25, "weight of the commitment loss; taming's is 0.25", low=0)
    quantize_from: int = option(
        100, "step from which latents are replaced by codes; an autoencoder before, which learns faster", low=0
    )
    restart_after: int = option(20, "steps after which a code that no image used becomes a latent of the batch", low=1)

    def __post_init__(self) -> None:
        if not self.channels or any(width < 1 or width % self.norm_groups for width in self.channels):
            raise ValueError(f"channels are {self.channels}; give multiples of norm_groups {self.norm_groups}.")


def build_vqgan(args: VQGANArguments, image_size: int) -> "VQModel":
    """Return an untrained VQGAN.

    Raises:
        ImportError: diffusers is not installed.
        ValueError: the image is not a whole number of codes wide.
    """
    width, last = 2 ** (len(args.channels) - 1), len(args.channels) - 1
    if image_size % width:
        raise ValueError(f"image_size is {image_size}, and a code is {width} pixels wide: give a multiple of {width}.")
    attends = args.attention
    down = ["AttnDownEncoderBlock2D" if attends and i == last else "DownEncoderBlock2D" for i in range(last + 1)]
    return vqgan_class()(
        down_block_types=tuple(down),
        up_block_types=tuple(name.replace("DownEncoder", "UpDecoder") for name in reversed(down)),
        block_out_channels=tuple(args.channels),
        layers_per_block=args.layers_per_block,
        latent_channels=args.code_channels,
        vq_embed_dim=args.code_channels,
        num_vq_embeddings=args.codes,
        norm_num_groups=args.norm_groups,
        sample_size=image_size,
        mid_block_add_attention=attends,
    )


@dataclass
class VQGANLoss(ModelOutput):
    """The loss of a batch and its parts."""

    loss: Tensor | None = None
    loss_l1: Tensor | None = None
    loss_codebook: Tensor | None = None
    loss_commitment: Tensor | None = None


class VQGANForTraining(nn.Module):
    """A VQGAN with its loss.

    Attributes:
        vqgan: the `diffusers.VQModel`.
        steps_unused: (v,) for how many steps no image used a code; at first all are due, so that the first batch
            that is quantized gives the codebook its values.
        steps: so many were trained.
    """

    steps_unused: Tensor
    steps: Tensor

    def __init__(self, vqgan: "VQModel", args: VQGANArguments) -> None:
        super().__init__()
        self.vqgan, self.args = vqgan, args
        self.register_buffer("steps_unused", torch.full((vqgan.config["num_vq_embeddings"],), args.restart_after))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._latents: Tensor | None = None  # (n, c) of the last batch

    def forward(self, pixel_values: Tensor) -> VQGANLoss:
        """Return the loss of images (b, 3, height, width) from 0 to 1."""
        codebook = self.vqgan.quantize.embedding.weight
        latents = self.vqgan.encode(pixel_values * 2 - 1).latents
        codes = nearest_codes(codebook.detach(), latents.detach())
        nearest = embed_codes(codebook, codes)
        quantizes = self.quantizes or not self.training
        if self.training:
            self._note(latents.detach().movedim(1, -1).flatten(0, 2), codes)
        images = decode_latents(self.vqgan, straight_through(latents, nearest) if quantizes else latents)
        parts = {
            "loss_l1": F.l1_loss(images, pixel_values),
            "loss_codebook": quantizes * F.mse_loss(nearest, latents.detach()),
            "loss_commitment": quantizes * self.args.commitment * F.mse_loss(latents, nearest.detach()),
        }
        return VQGANLoss(loss=torch.stack(list(parts.values())).sum(), **parts)

    @property
    def quantizes(self) -> bool:
        """True from the step `quantize_from` on."""
        return int(self.steps) >= self.args.quantize_from

    @torch.no_grad()
    def _note(self, latents: Tensor, codes: Tensor) -> None:
        if self.quantizes:
            self.steps_unused += 1
            self.steps_unused[codes.flatten()] = 0
        self.steps += 1
        self._latents = latents

    @torch.no_grad()
    def restart_dead_codes(self, seed: int) -> int:
        """Give each code that was unused for `restart_after` steps a latent of the last batch; return how many."""
        dead = (self.steps_unused >= self.args.restart_after).nonzero().flatten()
        if self._latents is None or not self.quantizes or not len(dead) or not self._latents.isfinite().all():
            return 0
        drawn = torch.randint(len(self._latents), (len(dead),), generator=torch.Generator().manual_seed(seed))
        self.vqgan.quantize.embedding.weight[dead] = self._latents[drawn.to(dead.device)]
        self.steps_unused[dead] = 0
        return len(dead)


class RestartDeadCodes(TrainerCallback):
    """Restart dead codes after each step, drawn by (seed, step): a resumed run draws the same."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Restart what is due."""
        kwargs["model"].restart_dead_codes(args.seed * 1_000_003 + state.global_step)


__all__ = ["RestartDeadCodes", "VQGANArguments", "VQGANForTraining", "VQGANLoss", "build_vqgan"]
