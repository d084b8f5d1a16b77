"""Embeddings of image tensors with gradients to their pixels: the processor's resize and normalisation, in torch."""

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2.functional import pil_to_tensor
from transformers.image_utils import SizeDict

from ...modeling_brivl.modeling_brivl import BriVLModel
from ...modeling_brivl.region_pooling import grid_boxes
from ...processing.image_processing_brivl import MAX_SIDE
from ...processing.processing_brivl import BriVLProcessor

MULTIPLE = 32  # by which image towers shrink an image
FIXED_BOXES = (6, 1)  # 36 cells and the whole image, as many as BriVL 1.0 reads of a detector


class ImageEmbedder:
    """Embeds images in [0, 1] of any size by the image tower of a model.

    A BriVL that expects the boxes of a detector (1.0) gets the whole image and the cells of a fixed 6 x 6 grid; one
    that has a grid of its own looks at that.

    Args:
        model, processor: a BriVL, whose weights get no gradient.
        size: side that the tower reads, in pixels; the processor's by default.

    Raises:
        ValueError: the tower cannot read that size.
    """

    def __init__(self, model: BriVLModel, processor: BriVLProcessor, *, size: int | None = None) -> None:
        self.model, self.processor = model, processor
        own = processor.image_processor.size["height"]
        self.size = own if size is None else size
        smallest = 2 * MULTIPLE if model.config.vision_config.stretch_boxes else MULTIPLE
        if self.size != own and not (self.size % MULTIPLE == 0 and smallest <= self.size <= MAX_SIDE):
            raise ValueError(
                f"size is {self.size}; the image tower reads {own}, its own, and multiples of {MULTIPLE} from "
                f"{smallest} to {MAX_SIDE}."
            )
        needs_boxes = set(model.config.vision_config.grid_scales) == {1}
        self.boxes = grid_boxes(self.size, FIXED_BOXES, model.device) if needs_boxes else None

    def resize(self, images: Tensor) -> Tensor:
        """Return images (b, 3, s, s) as the tower sees them, of images (b, 3, h, w), with the processor's resize."""
        size, settings = SizeDict(height=self.size, width=self.size), self.processor.image_processor
        return settings.resize(images, size, settings.resample, antialias=settings.antialias)

    def preprocess(self, images: Tensor) -> Tensor:
        """Return `pixel_values` (b, 3, s, s) of images (b, 3, h, w) in [0, 1], as the processor makes of a file's."""
        settings = self.processor.image_processor
        return settings.normalize(self.resize(images), settings.image_mean, settings.image_std)

    def __call__(self, images: Tensor) -> Tensor:
        """Return embeddings (b, d), unit rows, of images (b, 3, h, w) in [0, 1]."""
        # Twice as fast on a CPU, where most of the time goes into depth-wise convolutions.
        pixels = self.preprocess(images).contiguous(memory_format=torch.channels_last)
        boxes = None if self.boxes is None else self.boxes.expand(len(pixels), -1, -1)
        return F.normalize(self.model.get_image_features(pixel_values=pixels, boxes=boxes).pooler_output, dim=-1)

    @torch.inference_mode()
    def embed_images(self, images: Sequence[Image.Image], *, batch_size: int = 32) -> Tensor:
        """Return embeddings (n, d), unit rows on the CPU, of RGB images, all of one size."""
        tensors = [pil_to_tensor(image)[None] for image in images]
        batches = [torch.cat(tensors[first : first + batch_size]) for first in range(0, len(tensors), batch_size)]
        return torch.cat([self(batch.to(self.model.device) / 255).cpu() for batch in batches])


__all__ = ["ImageEmbedder"]
