"""The frozen lower part of a backbone, which query and momentum tower need only once.

Words: a *stage* is a piece of a backbone that reads the output of the piece before it; the *trunk* is all leading
stages without a parameter that trains, the *branch* the stages after it. A frozen parameter is the same in query and
momentum tower, and so are the states that a trunk computes, as long as both would see the same batch statistics.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from timm.models import EfficientNet
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.masking_utils import create_bidirectional_mask

# Their layers read nothing but the states and the mask; others have inputs of their own (relative positions, ...).
LAYERED_ENCODERS = ("bert", "roberta", "xlm-roberta")
GROUPS, MIN_GROUP = 4, 16  # of texts of like length, and the fewest texts of one


def is_trainable(name: str, trainable: Sequence[str] | None) -> bool:
    """Return True for a parameter that trains: its dotted name holds one of the dotted parts, or all train (None)."""
    return trainable is None or any(f".{part}." in f".{name}." for part in trainable)


def backbone_stages(backbone: nn.Module) -> dict[str, nn.Module]:
    """Return the stages by name, in order: EfficientNets of timm, BERT-like encoders; {} for any other backbone."""
    if isinstance(backbone, EfficientNet):
        names = ["conv_stem", "bn1", *(f"blocks.{i}" for i in range(len(backbone.blocks))), "conv_head", "bn2"]
    elif isinstance(backbone, PreTrainedModel) and backbone.config.model_type in LAYERED_ENCODERS:
        names = ["embeddings", *(f"encoder.layer.{i}" for i in range(backbone.config.num_hidden_layers))]
    else:
        names = []
    return {name: backbone.get_submodule(name) for name in names}


def trunk_depth(backbone: nn.Module, trainable: Sequence[str] | None) -> int:
    """Return the number of stages in the trunk."""
    stages = backbone_stages(backbone)
    for depth, (name, stage) in enumerate(stages.items()):
        if any(is_trainable(f"{name}.{parameter}", trainable) for parameter, _ in stage.named_parameters()):
            return depth
    return len(stages)


def drop_trunk(backbone: nn.Module, depth: int) -> None:
    """Take the first `depth` stages out of a backbone; the names of the others stay."""
    for name in list(backbone_stages(backbone))[:depth]:
        backbone.set_submodule(name, nn.Identity())


def run_image_stages(backbone: nn.Module, states: Tensor, stages: slice) -> Tensor:
    """Return what some stages make of pixels (b, 3, s, s) or of a map (b, c, h, w).

    With `grad_checkpointing` each block is computed again in the backward pass; its batch norms count that once.
    """
    for stage in list(backbone_stages(backbone).values())[stages]:
        if backbone.grad_checkpointing and torch.is_grad_enabled() and isinstance(stage, nn.Sequential):
            for block in stage:
                contexts = partial(_first_and_second_pass, block)
                states = checkpoint(block, states, use_reentrant=False, context_fn=contexts)
        else:
            states = stage(states)
    return states


def _first_and_second_pass(block: nn.Module) -> tuple[AbstractContextManager, AbstractContextManager]:
    return nullcontext(), _still_statistics(block)


@contextmanager
def _still_statistics(block: nn.Module) -> Iterator[None]:
    """Keep the running statistics of batch norms in training mode, which normalise by the batch all the same."""
    norms = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d) and module.training]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


def run_text_stages(backbone: nn.Module, states: Tensor, attention_mask: Tensor | None, stages: slice) -> Tensor:
    """Return what some stages make of token ids (b, l) or of token states (b, l, e): (b, l, e).

    Many texts with padding run in groups of like length, and the states of what is padding in all of a group are 0.

    Args:
        attention_mask: (b, l), 1 = real token; None: all are attended to.
    """
    named = list(backbone_stages(backbone).items())[stages]
    if named and attention_mask is not None and (groups := _like_lengths(attention_mask)):
        length, order = states.shape[1], torch.cat([rows for rows, _ in groups])
        parts = [
            run_text_stages(backbone, states[rows, :longest], attention_mask[rows, :longest], stages)
            for rows, longest in groups
        ]
        padded = [F.pad(part, (0, 0, 0, length - part.shape[1])) for part in parts]
        return torch.cat(padded)[order.argsort()]
    for name, stage in named:
        if name == "embeddings":
            states = stage(input_ids=states)
        else:
            states = stage(states, create_bidirectional_mask(backbone.config, states, attention_mask))
    return states


def _like_lengths(attention_mask: Tensor) -> list[tuple[Tensor, int]]:
    """Return the rows of each group of texts and the end of its longest; none for few texts, or without padding."""
    count, length = attention_mask.shape
    if count < GROUPS * MIN_GROUP or torch.compiler.is_compiling():
        return []
    places = torch.arange(1, length + 1, device=attention_mask.device)
    ends = (attention_mask.bool() * places).amax(dim=1).clamp(min=1)  # tokens may be hidden in the middle, too
    if int(ends.min()) == length:
        return []
    return [(rows, int(ends[rows[-1]])) for rows in ends.argsort().chunk(GROUPS)]


__all__ = ["backbone_stages", "drop_trunk", "is_trainable", "run_image_stages", "run_text_stages", "trunk_depth"]
