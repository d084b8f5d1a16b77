"""The score of every text with every picture: what retrieval with one tower ranks by."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..modeling_mlmm import MLMMForImageTextRetrieval
from ..processing import MLMMProcessor
from ..processing.region_rows import pad_regions, read_regions_of


@torch.inference_mode()
def score_pairs(
    model: MLMMForImageTextRetrieval,
    processor: MLMMProcessor,
    texts: Sequence[str],
    pictures: Sequence[Mapping[str, object]],
    *,
    batch_size: int = 256,
) -> Tensor:
    """Returns (texts, pictures) float32 scores, higher = they match better: one forward pass a pair.

    Pictures come in the order of their numbers of regions, so that little is padding.

    Args:
        model: with a rank head.
        processor: its processor.
        texts: the texts.
        pictures: rows of `wenlan.data.read_regions`.
        batch_size: pairs a forward pass.
    """
    model.eval()
    regions = [
        read_regions_of(row, f"Picture {row.get('image_id', index)}", feature_dim=model.config.region_feature_dim)
        for index, row in enumerate(pictures)
    ]
    order = sorted(range(len(regions)), key=lambda index: len(regions[index].boxes))
    encoded = processor(text=list(texts))
    scores = torch.empty(len(texts), len(regions))
    for start in range(0, len(order), batch_size):
        columns = order[start : start + batch_size]
        padded = {name: value.to(model.device) for name, value in pad_regions([regions[i] for i in columns]).items()}
        for row in range(len(texts)):
            length = int(encoded["attention_mask"][row].sum())
            words = {
                name: encoded[name][row, :length].expand(len(columns), -1) for name in ("input_ids", "attention_mask")
            }
            words = {name: value.to(model.device) for name, value in words.items()}
            scores[row, columns] = model(**words, **padded).scores.float().cpu()
    return scores


__all__ = ["score_pairs"]
