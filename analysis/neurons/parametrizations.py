"""Parametrisations of images to optimise: pixels, or spatial frequencies in decorrelated colours.

Letters: b images, h = w pixels a side. An image has three channels, or a fourth for its opacity.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor

Param = Literal["transparent", "fourier", "pixels"]
Start = Literal["uniform", "normal"]
UNIFORM, NORMAL_STD, FOURIER_STD = (0.4, 0.6), 0.1, 0.01
OPAQUE, SLOPE = 2.5, 1.6  # of the opacity that images begin with: 0.92 in the middle, 0.02 in the corners
# Brightness, blue against yellow, green against magenta: near the principal axes of the colours of images (Ohta et al.,
# 1980). Columns are axes.
COLOUR_AXES = torch.tensor([[1, 1, -0.5], [1, 0, 1], [1, -1, -0.5]])
COLOUR_STD = torch.tensor([1.0, 1.2, 1.2])
CUTOFFS = (16, 3, 3, 5)  # cycles a side of brightness, the two colours, and opacity


class Parametrization(Protocol):
    """Leaf tensors, and the images that they stand for; image i depends on entry i of each tensor alone."""

    def parameters(self) -> list[Tensor]:
        """Return the tensors to optimise, each (b, ...)."""

    def decode(self) -> Tensor:
        """Return the images, (b, 3 or 4, h, w) in [0, 1], with gradients to the parameters."""

    def project(self) -> None:
        """Bring the parameters back to allowed values, after each step."""


class PixelImages:
    """Pixels themselves, clamped to [0, 1] after each step.

    Args:
        seeds: one an image; the same seed gives the same start.
        size: h = w.
        start: uniform in [0.4, 0.6], or normal around 0.5 as for the paper's noise image.
        device: of the pixels.
    """

    def __init__(
        self, seeds: Sequence[int], size: int, *, start: Start = "uniform", device: str | torch.device = "cpu"
    ) -> None:
        if start == "uniform":
            low, high = UNIFORM
            pixels = low + (high - low) * torch.stack([torch.rand(3, size, size, generator=of(one)) for one in seeds])
        else:
            pixels = 0.5 + NORMAL_STD * _normal(seeds, 3, size, size)
        self.pixels = pixels.clamp(0, 1).to(device).requires_grad_()

    def parameters(self) -> list[Tensor]:
        """Return the pixels."""
        return [self.pixels]

    def decode(self) -> Tensor:
        """Return the pixels."""
        return self.pixels

    @torch.no_grad()
    def project(self) -> None:
        """Clamp the pixels; NaN stays."""
        self.pixels.clamp_(0, 1)


class FourierImages:
    """Coefficients of the real Fourier transform, scaled by 1 / max(f, 1 / N), in decorrelated colours, then a sigmoid.

    A step then moves an image at all scales alike, where one on pixels moves mostly the finest. With `opacity` a fourth
    plane says how opaque the image is, more so in the middle at first: as it is seen on many backgrounds, what shows
    the target must lie in the opaque part, as an object with an outline. High frequencies are weak then, those of
    colours most: an object has parts of one colour.

    Args:
        seeds, size, device: as for `PixelImages`.
        opacity: adds the fourth channel.
    """

    def __init__(
        self, seeds: Sequence[int], size: int, *, opacity: bool = False, device: str | torch.device = "cpu"
    ) -> None:
        self.size = size
        rows, columns = torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)
        frequencies = (rows**2 + columns**2).sqrt()
        scale = 1 / frequencies.clamp(min=1 / size)  # (h, w // 2 + 1)
        if opacity:
            scale = torch.stack([scale / (1 + (frequencies * size / cutoff) ** 4) for cutoff in CUTOFFS])
        self.scale = (scale / scale.square().mean(dim=(-2, -1), keepdim=True).sqrt()).to(device)
        self.colours = (COLOUR_AXES / COLOUR_AXES.norm(dim=0) * COLOUR_STD).to(device)
        axis = torch.linspace(-1, 1, size, device=device)
        self.middle = OPAQUE * (1 - SLOPE * (axis[:, None] ** 2 + axis**2))  # (h, w), before the sigmoid
        coefficients = FOURIER_STD * _normal(seeds, 3 + opacity, size, size // 2 + 1, 2)
        self.coefficients = coefficients.to(device).requires_grad_()

    def parameters(self) -> list[Tensor]:
        """Return the coefficients (b, 3 or 4, h, w // 2 + 1, 2): real and imaginary part."""
        return [self.coefficients]

    def decode(self) -> Tensor:
        """Return the images."""
        spectrum = torch.view_as_complex(self.coefficients) * self.scale
        planes = torch.fft.irfft2(spectrum, s=(self.size, self.size), norm="ortho")
        colours = torch.einsum("ck,bkhw->bchw", self.colours, planes[:, :3])
        return torch.cat([colours, planes[:, 3:] + self.middle], dim=1).sigmoid()

    def project(self) -> None:
        """Leave the coefficients: all are allowed."""


def on_background(images: Tensor, background: Tensor | float = 1.0) -> Tensor:
    """Return images (b, 3, h, w): those with opacity (b, 4, h, w) on a background, white by default; others as is."""
    if images.shape[1] == 3:
        return images
    colours, opacity = images[:, :3], images[:, 3:]
    return colours * opacity + background * (1 - opacity)


def make_images(
    param: Param, seeds: Sequence[int], size: int, *, start: Start = "uniform", device: str | torch.device = "cpu"
) -> Parametrization:
    """Return images to optimise, one a seed."""
    if param != "pixels":
        return FourierImages(seeds, size, opacity=param == "transparent", device=device)
    return PixelImages(seeds, size, start=start, device=device)


def of(seed: int) -> torch.Generator:
    """Return the generator of a seed; on the CPU, so that numbers are the same on each device."""
    return torch.Generator().manual_seed(seed)


def _normal(seeds: Sequence[int], *shape: int) -> Tensor:
    return torch.stack([torch.randn(*shape, generator=of(seed)) for seed in seeds])


__all__ = ["FourierImages", "Param", "Parametrization", "PixelImages", "Start", "make_images", "on_background"]
