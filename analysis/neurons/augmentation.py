"""Random copies of images, which the objective is averaged over: what only one exact position calls up is lost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from .parametrizations import on_background


class Augment(Protocol):
    """Random copies of images: rotations, or cut-outs. `copies` is k, how many it makes of each."""

    @property
    def copies(self) -> int: ...  # noqa: D102

    def __call__(self, images: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Return k copies of each of b images, (b * k, 3, h', w'), those of an image one after the other.

        Args:
            images: (b, 3, h, w) in [0, 1]; those of a parametrisation with opacity have a fourth channel.
            generators: one an image, that its copies are drawn from: they must not depend on the rest of the batch.
        """


@dataclass(frozen=True)
class AffineCopies:
    """Rotated, scaled and shifted copies at several resolutions, with noise; what is outside is mirrored.

    Images with opacity come on plain backgrounds of random colours.

    Args:
        copies: k, of each image.
        rotation_degrees: largest rotation in either direction.
        scale_range: smallest and largest magnification.
        shift_fraction: largest shift in either direction, as a fraction of the side.
        resolutions: as fractions of the side; copy i is reduced to resolution i, modulo their number, and enlarged
            again. What only details show is then not enough.
        noise_std: of the noise that is added to each pixel.
    """

    copies: int = 4
    rotation_degrees: float = 17.0
    scale_range: tuple[float, float] = (0.8, 1.2)
    shift_fraction: float = 0.15
    resolutions: tuple[float, ...] = (0.2, 0.3, 0.5, 1.0)
    noise_std: float = 0.03

    def __post_init__(self) -> None:
        if self.copies < 1:
            raise ValueError(f"copies is {self.copies}; give at least 1.")

    def __call__(self, images: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Return the copies (b * k, 3, h, w)."""
        drawn = torch.stack([torch.rand(self.copies, 7, generator=one) for one in generators]).flatten(0, 1)  # (b*k, 7)
        noise = torch.cat([torch.randn(self.copies, 3, *images.shape[2:], generator=one) for one in generators])
        turn = (2 * drawn[:, 0] - 1) * math.radians(self.rotation_degrees)
        low, high = self.scale_range
        scale = low + (high - low) * drawn[:, 1]
        shift = 2 * self.shift_fraction * (2 * drawn[:, 2:4] - 1)  # a side is 2 in the coordinates of grid_sample
        cos, sin = turn.cos() / scale, turn.sin() / scale
        rows = [torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)]
        copies = images.repeat_interleave(self.copies, dim=0)
        grid = F.affine_grid(torch.stack(rows, 1).to(images), list(copies.shape), align_corners=False)
        moved = F.grid_sample(copies, grid, padding_mode="reflection", align_corners=False)
        shown = on_background(moved, drawn[:, 4:, None, None].to(images))
        return self._reduce(shown) + self.noise_std * noise.to(images)

    def _reduce(self, copies: Tensor) -> Tensor:
        """Return copies (b * k, 3, h, w) of which each is at its resolution."""
        side, reduced = copies.shape[-1], copies.unflatten(0, (-1, self.copies)).unbind(dim=1)
        found = []
        for number, one in enumerate(reduced):
            low = max(round(side * self.resolutions[number % len(self.resolutions)]), 1)
            if low < side:
                small = F.interpolate(one, size=(low, low), mode="bilinear", antialias=True)
                one = F.interpolate(small, size=(side, side), mode="bilinear")
            found.append(one)
        return torch.stack(found, dim=1).flatten(0, 1)


__all__ = ["AffineCopies", "Augment"]
