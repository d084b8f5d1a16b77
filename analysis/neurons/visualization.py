"""The two ways of making an image of a target: the paper's, and a robust one."""

from typing import Literal

from torch import Tensor

from .augmentation import AffineCopies
from .image_embedding import ImageEmbedder
from .optimization import OptimizationSettings, OptimizedImages, optimize
from .parametrizations import Param, make_images

Mode = Literal["paper", "robust"]
STEPS, COPIES, TV_WEIGHT = 80, 4, 0.5
LEARNING_RATES: dict[Param, float] = {"transparent": 0.15, "fourier": 0.2, "pixels": 0.05}


def visualize(
    embed: ImageEmbedder,
    targets: Tensor,
    *,
    seed: int,
    mode: Mode = "robust",
    param: Param = "transparent",
    steps: int = STEPS,
    copies: int = COPIES,
    learning_rate: float | None = None,
    tv_weight: float = TV_WEIGHT,
    progress: bool = False,
) -> OptimizedImages:
    """Return an image (b, 3, s, s) for each target (b, d), s = `embed.size`.

    Args:
        seed: of the start and of the copies, the same for each target.
        mode: "paper" begins with normal noise and changes pixels, without copies and smoothness (section 1.4). "robust"
            averages over changed copies and penalises total variation.
        param: of the robust mode.
        steps: of Adam.
        copies, tv_weight: of the robust mode.
        learning_rate: by default that which suits what is optimised.
        progress: show a progress bar.
    """
    is_paper, seeds = mode == "paper", [seed] * len(targets)
    chosen: Param = "pixels" if is_paper else param
    device = embed.model.device
    rate = LEARNING_RATES[chosen] if learning_rate is None else learning_rate
    return optimize(
        make_images(chosen, seeds, embed.size, start="normal" if is_paper else "uniform", device=device),
        embed,
        targets.to(device),
        seeds=seeds,
        augment=None if is_paper else AffineCopies(copies),
        settings=OptimizationSettings(steps=steps, learning_rate=rate, tv_weight=0 if is_paper else tv_weight),
        progress=progress,
    )


__all__ = ["Mode", "visualize"]
