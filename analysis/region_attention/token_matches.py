"""Matches of the words of a text with the cells of an image, by late interaction; drawn as attention is."""

from os import PathLike

import torch
from PIL import Image

from ...modeling_brivl.modeling_brivl import BriVLModel
from ...modeling_brivl.region_pooling import grid_boxes
from ...processing.image_decoding import decode_image
from ...processing.processing_brivl import BriVLProcessor
from .attention import RegionAttention, without_space


@torch.inference_mode()
def text_to_region_matches(
    model: BriVLModel, processor: BriVLProcessor, text: str, image: str | PathLike | bytes | Image.Image
) -> RegionAttention:
    """Return the softmax over the cells of an image of their cosines with each word piece, over the temperature.

    The whole image, where it is one of the regions, is left out: every word is in it.

    Args:
        model: a BriVL with late interaction.
        processor: of the model.
        text: with the words.
        image: what `decode_image` reads.

    Raises:
        ValueError: the model has no late interaction, or looks at no cell but the whole image.
    """
    if not model.config.late_interaction:
        raise ValueError("This BriVL has no tokens to match: late_interaction is false; train one by brivl_late.")
    vision = model.config.vision_config
    boxes = grid_boxes(vision.image_size, vision.grid_scales) / vision.image_size
    is_cell = (boxes[:, 2:] - boxes[:, :2]).amin(dim=1) < 1
    if not is_cell.any():
        raise ValueError(f"This BriVL looks at the whole image alone (grid_scales {list(vision.grid_scales)}).")
    image = decode_image(image)
    output = model.eval()(**processor(text=[text], images=[image], return_tensors="pt").to(model.device))
    encoding = processor.tokenizer(
        text,
        truncation=True,
        max_length=processor.max_text_length,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    rows = [row for row, is_special in enumerate(encoding["special_tokens_mask"]) if not is_special]
    spans = [without_space(text, *encoding["offset_mapping"][row]) for row in rows]
    cosines = output.text_tokens[0, rows].float() @ output.image_tokens[0, is_cell.to(model.device)].float().T
    return RegionAttention(
        text=text,
        tokens=[text[first:last] for first, last in spans],
        spans=spans,
        boxes=boxes[is_cell] * torch.tensor([*image.size, *image.size]),
        weights=(cosines / model.config.late_temperature).softmax(dim=1).cpu(),
        region_fraction=torch.ones(len(rows)),
    )


__all__ = ["text_to_region_matches"]
