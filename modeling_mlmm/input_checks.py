"""Checks of MLMM's inputs; a message says what was given, what fits and what to do."""

import torch
from torch import Tensor

from .configuration_mlmm import MLMMConfig


def check_text(
    config: MLMMConfig, input_ids: Tensor | None, inputs_embeds: Tensor | None, attention_mask: Tensor | None
) -> None:
    """Raise ValueError for token ids that are no (b, l), a mask of another shape, and a text without positions.

    The same for embeddings (b, l, h) in place of the ids, and for both at once.
    """
    if input_ids is not None and inputs_embeds is not None:
        raise ValueError("input_ids and inputs_embeds were both given: the words come from one of them.")
    if input_ids is not None and input_ids.ndim != 2:
        raise ValueError(f"input_ids must be (batch, tokens), got {tuple(input_ids.shape)}.")
    if inputs_embeds is not None and (inputs_embeds.ndim != 3 or inputs_embeds.shape[2] != config.hidden_size):
        given = tuple(inputs_embeds.shape)
        raise ValueError(f"inputs_embeds must be (batch, tokens, {config.hidden_size}), got {given}.")
    text = input_ids if inputs_embeds is None else inputs_embeds
    assert text is not None
    if text.shape[1] > config.max_text_length:
        raise ValueError(
            f"The texts have {text.shape[1]} tokens, padding included, and the model has positions for "
            f"{config.max_text_length}: cut them, e.g. tokenizer(..., truncation=True, max_length=60)."
        )
    _check_mask("attention_mask", attention_mask, text.shape[:2])


def check_regions(
    config: MLMMConfig,
    region_features: Tensor | None,
    region_boxes: Tensor | None,
    region_attention_mask: Tensor | None,
    masked_regions: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return features and boxes, both given and of the model's shapes.

    Raises:
        ValueError: for regions of another width, number or shape than the model's, and for NaN and infinity.
    """
    if region_features is None:
        raise ValueError("region_features are missing: boxes and masks of regions alone say nothing.")
    if region_boxes is None:
        raise ValueError(f"region_boxes are missing: {config.region_box_dim} numbers for every region.")
    if region_features.ndim != 3 or region_features.shape[2] != config.region_feature_dim:
        raise ValueError(
            f"region_features are {tuple(region_features.shape)}, the model reads (batch, regions, "
            f"{config.region_feature_dim}): a feature has {region_features.shape[-1]} numbers, region_feature_dim is "
            f"{config.region_feature_dim}. Extract the regions with the detector the model was trained on."
        )
    expected = (*region_features.shape[:2], config.region_box_dim)
    if region_boxes.shape != expected:
        raise ValueError(f"region_boxes must be {tuple(expected)}, got {tuple(region_boxes.shape)}.")
    _check_mask("region_attention_mask", region_attention_mask, region_features.shape[:2])
    _check_mask("masked_regions", masked_regions, region_features.shape[:2])
    if _knows_values():
        _check_finite("region_features", region_features)
        _check_finite("region_boxes", region_boxes)
    return region_features, region_boxes


def check_rows(mask: Tensor) -> None:
    """Raise ValueError where a row of the joint mask has neither a token nor a region."""
    if mask.shape[1] == 0 or (_knows_values() and not mask.any(dim=1).all()):
        rows = (~mask.any(dim=1)).nonzero().flatten().tolist()
        raise ValueError(f"Neither text nor regions in {len(rows)} rows of the batch: {', '.join(map(str, rows[:5]))}.")


def _knows_values() -> bool:
    """Return False while a compiler or exporter traces: tensors have no values then."""
    return not (torch.compiler.is_compiling() or torch.jit.is_tracing())


def _check_mask(name: str, mask: Tensor | None, shape: torch.Size) -> None:
    if mask is not None and mask.shape != shape:
        raise ValueError(f"{name} must be {tuple(shape)}, got {tuple(mask.shape)}.")


def _check_finite(name: str, values: Tensor) -> None:
    finite = values.isfinite().all(dim=-1)
    if not finite.all():
        places = ", ".join(f"row {row} region {region}" for row, region in (~finite).nonzero().tolist()[:5])
        raise ValueError(f"{name} hold NaN or infinity in {int((~finite).sum())} regions: {places}.")


__all__ = ["check_regions", "check_rows", "check_text"]
