"""The image tower at several sizes, one a step: what only one size calls up is lost, and smaller ones are faster."""

from contextlib import suppress

from torch import Tensor

from ...modeling_brivl.modeling_brivl import BriVLModel
from ...processing.processing_brivl import BriVLProcessor
from ..neurons.image_embedding import MULTIPLE, ImageEmbedder

FRACTIONS = (0.6, 0.8)  # of the model's own size


class EmbedderAtSizes:
    """Embeds images at the model's own size in one step, at a smaller one in the next, and so on in turn.

    Args:
        model, processor: a BriVL, whose weights get no gradient.
        calls: calls of a step, all of which are at the same size.

    Attributes:
        embedders: one a size, the model's own first; only sizes that its tower can read.
    """

    def __init__(self, model: BriVLModel, processor: BriVLProcessor, *, calls: int = 1) -> None:
        self.embedders = [ImageEmbedder(model, processor)]
        own = self.embedders[0].size
        for size in dict.fromkeys(MULTIPLE * round(fraction * own / MULTIPLE) for fraction in FRACTIONS):
            with suppress(ValueError):
                self.embedders += [ImageEmbedder(model, processor, size=size)] if size != own else []
        self.calls, self.made = calls, 0

    def __call__(self, images: Tensor) -> Tensor:
        """Return embeddings (b, d), unit rows, of images (b, 3, h, w) in [0, 1], at the size of this step."""
        embed = self.embedders[self.made // self.calls % len(self.embedders)]
        self.made += 1
        return embed(images)


__all__ = ["EmbedderAtSizes"]
