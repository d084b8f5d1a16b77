"""The optimisation of images towards targets in the embedding space (sections 1.4 and 3.2 of the paper).

All weights are frozen; the parameters of the images alone change. Any `Parametrization` will do: pixels, frequencies,
or the latent of a decoder. Images of a batch do not depend on each other.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image
from tqdm.auto import tqdm

from .augmentation import Augment
from .objective import Distance, contrast, embedding_loss, total_variation
from .parametrizations import Parametrization, on_background

logger = logging.getLogger(__name__)

BATCH = 32  # copies that go through the tower at a time: beyond it memory grows and nothing gets faster


@dataclass(frozen=True)
class OptimizationSettings:
    """Settings of an optimisation with Adam.

    Attributes:
        steps: of Adam.
        learning_rate: of Adam.
        tv_weight: of the total variation.
        l2_weight: of the squared distance from mid-grey.
        distance: to the target.
        frames: images that are kept on the way, about.
    """

    steps: int = 150
    learning_rate: float = 0.05
    tv_weight: float = 0.5
    l2_weight: float = 0.0
    distance: Distance = "cosine"
    frames: int = 40

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}; give at least 1.")


@dataclass(frozen=True)
class TraceRow:
    """State of one image before a step: `cosine` is the mean over copies, `gradient_norm` that at its pixels."""

    step: int
    image: int
    cosine: float
    tv: float
    gradient_norm: float


@dataclass
class OptimizedImages:
    """The result.

    Attributes:
        images: (b, 3, h, w) float32 in [0, 1] on the CPU, those with opacity on white: after the last step whose
            values were finite.
        trace: a row for each step and image.
        frames: (b, 3, h, w) uint8, evenly spaced over the steps, the start first and the result last.
        stopped: why it ended before its last step.
    """

    images: Tensor
    trace: list[TraceRow] = field(default_factory=list)
    frames: list[Tensor] = field(default_factory=list)
    stopped: Literal["non-finite", "interrupted"] | None = None


def optimize(
    parametrization: Parametrization,
    embed: Callable[[Tensor], Tensor],
    targets: Tensor,
    *,
    seeds: Sequence[int],
    augment: Augment | None = None,
    settings: OptimizationSettings | None = None,
    batch_size: int = BATCH,
    progress: bool = False,
) -> OptimizedImages:
    """Return images whose embeddings were brought near the targets.

    A loss that is not finite, or Ctrl-C, ends it; the last good images are returned and `stopped` says so.

    Args:
        parametrization: of b images.
        embed: images (n, 3, h, w) to unit rows (n, d), with gradients, such as an `ImageEmbedder`.
        targets: (b, d) unit rows.
        seeds: (b,) of the copies of each image.
        augment: makes the copies that the objective is averaged over; None: the image alone.
        settings: of the objective and of Adam.
        batch_size: copies at a time.
        progress: show a progress bar.

    Raises:
        ValueError: targets and seeds are not as many as the images.
    """
    settings = settings or OptimizationSettings()
    targets = targets.clone()  # of `embed_texts` they come out of inference mode
    adam = torch.optim.Adam(parametrization.parameters(), lr=settings.learning_rate)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    every, result = max(1, settings.steps // settings.frames), OptimizedImages(_keep(parametrization.decode()))
    if not len(result.images) == len(targets) == len(seeds):
        raise ValueError(f"{len(result.images)} images, {len(targets)} targets, {len(seeds)} seeds; give one each.")
    try:
        with tqdm(range(settings.steps), desc="optimize", disable=not progress) as bar:
            for step in bar:
                images = parametrization.decode()
                gradients, cosines, tv = _gradients(
                    images.detach(), embed, targets, augment, generators, settings, batch_size
                )
                if not (cosines.isfinite().all() and images.isfinite().all() and gradients.isfinite().all()):
                    result.stopped = "non-finite"
                    break
                result.images = _keep(images)
                if step % every == 0:
                    result.frames.append(_to_bytes(result.images))
                norms = gradients.flatten(1).norm(dim=1)
                columns = zip(cosines.tolist(), tv.tolist(), norms.tolist(), strict=True)
                result.trace += [TraceRow(step, number, *row) for number, row in enumerate(columns)]
                bar.set_postfix(cosine=f"{cosines.mean():.3f}")
                adam.zero_grad()
                images.backward(gradients)
                adam.step()
                parametrization.project()
            else:
                images = _keep(parametrization.decode())
                if images.isfinite().all():
                    result.images = images
                else:
                    result.stopped = "non-finite"
    except KeyboardInterrupt:
        result.stopped = "interrupted"
    if result.stopped == "non-finite":
        logger.warning(
            "The loss is not finite at step %d; the last good images are kept.", len(result.trace) // len(seeds)
        )
    result.frames.append(_to_bytes(result.images))
    return result


def _gradients(
    images: Tensor,
    embed: Callable[[Tensor], Tensor],
    targets: Tensor,
    augment: Augment | None,
    generators: Sequence[torch.Generator],
    settings: OptimizationSettings,
    batch_size: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients at the images (b, 3 or 4, h, w), and mean cosine and total variation of each, (b,) both."""
    images.requires_grad_()
    shown = on_background(images)
    tv = total_variation(shown)
    (settings.tv_weight * tv + settings.l2_weight * contrast(shown)).sum().backward()
    copies_each = 1 if augment is None else augment.copies
    cosines, count = [], max(1, batch_size // copies_each)
    for first in range(0, len(images), count):
        chosen = slice(first, first + count)
        own = images[chosen]
        copies = on_background(own) if augment is None else augment(own, generators[chosen])
        found = torch.einsum("bkd,bd->bk", embed(copies).unflatten(0, (-1, copies_each)), targets[chosen])
        embedding_loss(found, settings.distance).mean(dim=1).sum().backward()
        cosines.append(found.detach().mean(dim=1))
    assert images.grad is not None
    return images.grad, torch.cat(cosines), tv.detach()


def _keep(images: Tensor) -> Tensor:
    return on_background(images.detach()).to("cpu", copy=True)  # the parameters may be the images themselves


def _to_bytes(images: Tensor) -> Tensor:
    return (255 * images).round().to(torch.uint8)


def to_pil_images(images: Tensor) -> list[Image.Image]:
    """Return RGB images of a tensor (b, 3, h, w): uint8, or floats in [0, 1]."""
    return [to_pil_image(one) for one in (_to_bytes(images) if images.is_floating_point() else images)]


__all__ = ["OptimizationSettings", "OptimizedImages", "TraceRow", "optimize", "to_pil_images"]
