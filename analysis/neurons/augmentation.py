"""Random copies of images, which the objective is averaged over: what only one exact position calls up is lost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


class Augment(Protocol):
    """Random copies of images: rotations, or cut-outs. `copies` is k, how many it makes of each."""

    @property
    def copies(self) -> int: ...  # noqa: D102

    def __call__(self, images: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Return k copies of each of b images, (b * k, 3, h', w'), those of an image one after the other.

        Args:
            images: (b, 3, h, w) in [0, 1].
            generators: one an image, that its copies are drawn from: they must not depend on the rest of the batch.
        """


@dataclass(frozen=True)
class AffineCopies:
    """Rotated, scaled and shifted copies with noise; what comes in from outside is mirrored.

    Args:
        copies: k, of each image.
        rotation_degrees: largest rotation in either direction.
        scale_range: smallest and largest magnification.
        shift_fraction: largest shift in either direction, as a fraction of the side.
        noise_std: of the noise that is added to each pixel.
    """

    copies: int = 4
    rotation_degrees: float = 17.0
    scale_range: tuple[float, float] = (0.8, 1.2)
    shift_fraction: float = 0.15
    noise_std: float = 0.03

    def __post_init__(self) -> None:
        if self.copies < 1:
            raise ValueError(f"copies is {self.copies}; give at least 1.")

    def __call__(self, images: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Return the copies (b * k, 3, h, w)."""
        drawn = torch.stack([torch.rand(self.copies, 4, generator=one) for one in generators]).flatten(0, 1)  # (b*k, 4)
        noise = torch.cat([torch.randn(self.copies, *images.shape[1:], generator=one) for one in generators])
        turn = (2 * drawn[:, 0] - 1) * math.radians(self.rotation_degrees)
        low, high = self.scale_range
        scale = low + (high - low) * drawn[:, 1]
        shift = 2 * self.shift_fraction * (2 * drawn[:, 2:] - 1)  # a side is 2 in the coordinates of grid_sample
        cos, sin = turn.cos() / scale, turn.sin() / scale
        rows = [torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)]
        copies = images.repeat_interleave(self.copies, dim=0)
        grid = F.affine_grid(torch.stack(rows, 1).to(images), list(copies.shape), align_corners=False)
        moved = F.grid_sample(copies, grid, padding_mode="reflection", align_corners=False)
        return moved + self.noise_std * noise.to(images)


__all__ = ["AffineCopies", "Augment"]
