"""Token-wise late interaction: the regions of an image and the tokens of a text meet one by one, after the towers.

Words: *tokens* are the states of a tower before its pooling, projected into one space and L2-normalised. The special
tokens of a text count, as they do in the pooled embedding; padding never does. Shapes: b images of n tokens, t texts of
l tokens, c width of a token. A mask is 1 for a real token; each row has at least one.

Source of the score: FILIP, whose directions are averaged here, so that an image and a text have one score.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .configuration_brivl import BriVLConfig

MAX_CELLS = 2**24  # similarities of tokens that are computed at a time


class LateInteractionHeads(nn.Module):
    """The projections of region and token states into one space. They belong to the query towers: no momentum copy."""

    def __init__(self, config: BriVLConfig) -> None:
        super().__init__()
        self.image = nn.Linear(config.vision_config.hidden_size, config.late_dim, bias=False)
        self.text = nn.Linear(config.text_config.hidden_size, config.late_dim, bias=False)


def project_tokens(projection: nn.Module, states: Tensor) -> Tensor:
    """Return tokens (b, n, c), unit rows, of the states (b, n, e) of a tower."""
    return F.normalize(projection(states), dim=-1)


def token_mask(tokens: Tensor, mask: Tensor | None, length: int) -> Tensor:
    """Return the mask (b, n) of tokens (b, n, c), bool, of that of the inputs, which a tower may have cut or padded.

    Args:
        tokens: of the tower.
        mask: (b, length) of the inputs. None: all are real.
        length: of the inputs.
    """
    mask = tokens.new_ones(len(tokens), length) if mask is None else mask
    return F.pad(mask.bool(), (0, tokens.shape[1] - mask.shape[1]))


def late_interaction_scores(
    image_tokens: Tensor,
    image_mask: Tensor,
    text_tokens: Tensor,
    text_mask: Tensor,
    *,
    max_cells: int = MAX_CELLS,
) -> Tensor:
    """Return the scores (b, t) of all images with all texts, in [-1, 1] and float32, also under autocast.

    A score is the mean of two means: over the image's tokens of their greatest cosine with a token of the text, and
    over the text's tokens of their greatest cosine with one of the image. Masked tokens take no part in either.

    Args:
        image_tokens, image_mask: (b, n, c) unit rows, (b, n).
        text_tokens, text_mask: (t, l, c) unit rows, (t, l).
        max_cells: similarities held at a time, which bounds the memory; at least those of one image with one text.
    """
    cells = max(1, image_tokens.shape[1] * text_tokens.shape[1])  # of one image with one text
    texts = min(max(1, len(text_tokens)), max(1, max_cells // cells))
    images = max(1, max_cells // (cells * texts))
    rows = zip(image_tokens.split(images), image_mask.bool().split(images), strict=True)
    columns = list(zip(text_tokens.split(texts), text_mask.bool().split(texts), strict=True))
    return torch.cat([torch.cat([_scores(*row, *column) for column in columns], dim=1) for row in rows])


def _scores(image_tokens: Tensor, image_mask: Tensor, text_tokens: Tensor, text_mask: Tensor) -> Tensor:
    with torch.autocast(image_tokens.device.type, enabled=False):
        cosines = torch.einsum("bnc,tlc->bntl", image_tokens.float(), text_tokens.float())
    of_image, of_text = image_mask[:, :, None], text_mask[None]  # (b, n, 1), (1, t, l)
    # Not `amax`, whose backward pass keeps all similarities, nor a product with the mask, which keeps -inf as NaN.
    best_text = cosines.masked_fill(~of_text[:, None], -torch.inf).max(dim=3).values  # (b, n, t)
    best_image = cosines.masked_fill(~of_image[..., None], -torch.inf).max(dim=1).values  # (b, t, l)
    image_to_text = best_text.masked_fill(~of_image, 0).sum(dim=1) / of_image.sum(dim=1)
    text_to_image = best_image.masked_fill(~of_text, 0).sum(dim=2) / of_text.sum(dim=2)
    return (image_to_text + text_to_image) / 2


__all__ = ["LateInteractionHeads", "late_interaction_scores", "project_tokens", "token_mask"]
