"""State dicts of the original BriVL code under our names.

The original calls its towers `imgencoder` and `textencoder`, their momentum copies `..._mom`. A released file is
`{"learnable": state dict of the towers}`, of which the rest does not matter; a whole `VL_model` has the same keys
behind `learnable.` and its queues beside them; wrapped for several GPUs, all keys are behind `module.`. timm has not
renamed EfficientNet's tensors since.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .momentum_queue import NO_GROUP

WRAPPERS = re.compile(r"^(?:(?:module|learnable)\.)+")
TOWERS = {
    "imgencoder": "vision_model",
    "textencoder": "text_model",
    "imgencoder_mom": "momentum_vision_model",
    "textencoder_mom": "momentum_text_model",
}
QUEUE = ("img_queue", "text_queue", "img_queue_ptr", "text_queue_ptr")
# Names inside a tower.
RENAMES = (
    (re.compile(r"^backbone\.bert\."), "backbone."),
    (re.compile(r"^learnable\.max_pool\.0\."), "region_projection."),
    (re.compile(r"^learnable\.(?:img|text)Att\.layers\."), "encoder.layers."),
    (re.compile(r"^learnable\.(?:img|text)FC\."), "encoder."),
    (re.compile(r"\.LayerNorm\.gamma$"), ".LayerNorm.weight"),  # BERT files older than transformers
    (re.compile(r"\.LayerNorm\.beta$"), ".LayerNorm.bias"),
)
UNUSED = {
    "backbone.classifier.": "CNN classifier",
    "backbone.bert.pooler.": "BERT pooler",
    "backbone.bert.embeddings.position_ids": "BERT position ids",
}


@dataclass
class ConvertedCheckpoint:
    """An original checkpoint under our names.

    Attributes:
        query: state dict of `BriVLModel`.
        momentum: the momentum towers, named as in `BriVLForPreTraining`; empty unless asked for.
        queue: the queue, named likewise; empty unless asked for and in the checkpoint.
        dropped: how many entries of each kind were left out.
    """

    query: dict[str, Tensor]
    momentum: dict[str, Tensor] = field(default_factory=dict)
    queue: dict[str, Tensor] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)


def convert_tower(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of one tower under our names, without the unused ones.

    Their names are as inside `imgencoder.` or `textencoder.`. The original's region projection is a 1x1 convolution,
    ours a linear layer: (d, c, 1, 1) becomes (d, c).
    """
    state = {}
    for name, tensor in tensors.items():
        if _unused_kind(name) is None:
            for pattern, replacement in RENAMES:
                name = pattern.sub(replacement, name)
            is_convolution = name == "region_projection.weight" and tensor.ndim == 4
            state[name] = tensor.flatten(1) if is_convolution else tensor
    return state


def convert_original_checkpoint(
    checkpoint: Mapping[str, object], expected: Mapping[str, Tensor], *, with_momentum: bool = False
) -> ConvertedCheckpoint:
    """Return the checkpoint under our names: complete, and with the expected shapes.

    Args:
        checkpoint: what the file holds, in any of the layouts above.
        expected: state dict of the `BriVLModel` to fill; only names and shapes are read, so it may be on "meta".
        with_momentum: also convert the momentum towers, and the queue if there is one.

    Raises:
        ValueError: for a checkpoint without towers, and for unknown, doubled or missing entries and wrong shapes: one
            message with a line for each of them.
    """
    entries, beside = _split_entries(checkpoint)
    if not any(key.split(".")[0] in TOWERS for key, _ in entries):
        raise ValueError(
            "no BriVL checkpoint: no key starts with imgencoder. or textencoder.; "
            f"the first of its {len(entries)} keys: {', '.join(key for key, _ in entries[:5]) or 'none'}."
        )
    state, dropped, problems = _rename_entries(entries, {*expected, *(f"momentum_{name}" for name in expected), *QUEUE})
    dropped.update(_kind_of_neighbour(*entry) for entry in beside)
    queue = {key: state.pop(key) for key in QUEUE if key in state}
    momentum = {name: state.pop(name) for name in list(state) if name.startswith("momentum_")}
    problems += _misfits(state, expected)
    if with_momentum and momentum:
        problems += _misfits(momentum, {f"momentum_{name}": tensor for name, tensor in expected.items()})
    elif with_momentum:
        problems.append("missing: the momentum towers (imgencoder_mom., textencoder_mom.); convert without them")
    if with_momentum and queue:
        problems += _queue_misfits(queue, dim=len(expected["text_model.encoder.fc2.bias"]))
    if problems:
        raise ValueError("\n  ".join(["the checkpoint does not fit the configuration:", *problems]))
    if with_momentum:
        return ConvertedCheckpoint(state, momentum, _convert_queue(queue) if queue else {}, dropped)
    dropped.update({"momentum towers": len(momentum), "queue": len(queue)})
    return ConvertedCheckpoint(state, dropped=+dropped)


def _rename_entries(
    entries: list[tuple[str, object]], known: set[str]
) -> tuple[dict[str, Tensor], Counter[str], list[str]]:
    """Return the state under our names, what was dropped, and what is wrong with the keys."""
    state: dict[str, Tensor] = {}
    dropped: Counter[str] = Counter()
    problems = []
    for key, value in entries:
        tower, _, name = key.partition(".")
        if not isinstance(value, Tensor) or (value.ndim == 0 and tower not in TOWERS and key not in QUEUE):
            dropped[_kind_of_neighbour(key, value)] += 1
        elif tower in TOWERS and (kind := _unused_kind(name)):
            dropped[kind] += 1
        else:
            ours, tensor = key, value
            if tower in TOWERS:
                ((name, tensor),) = convert_tower({name: value}).items()
                ours = f"{TOWERS[tower]}.{name}"
            if ours not in known:
                problems.append(f"unknown: {key} {tuple(value.shape)}")
            elif ours in state:
                problems.append(f"twice: {key}")
            state[ours] = tensor
    return state, dropped, problems


def _split_entries(checkpoint: Mapping[str, object]) -> tuple[list[tuple[str, object]], list[tuple[str, object]]]:
    """Return (key without the wrappers' prefixes, value) of the weights, and of what lies beside them."""
    learnable, beside = checkpoint.get("learnable"), []
    if isinstance(learnable, Mapping):
        beside = [(str(key), value) for key, value in checkpoint.items() if key not in ("learnable", *QUEUE)]
        checkpoint = {**learnable, **{key: checkpoint[key] for key in QUEUE if key in checkpoint}}
    return [(WRAPPERS.sub("", str(key)), value) for key, value in checkpoint.items()], beside


def _kind_of_neighbour(key: str, value: object) -> str:
    return f"{key[:80]}, no part of the weights" if isinstance(value, Tensor) else f"{key[:80]}, no tensor"


def _unused_kind(name: str) -> str | None:
    return next((kind for prefix, kind in UNUSED.items() if name.startswith(prefix)), None)


def _misfits(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    missing = [f"missing: {name}" for name in expected if name not in state]
    return missing + [
        f"shape: {name} is {tuple(state[name].shape)}, the configuration says {tuple(expected[name].shape)}"
        for name in expected
        if name in state and state[name].shape != expected[name].shape
    ]


def _queue_misfits(queue: Mapping[str, Tensor], dim: int) -> list[str]:
    if missing := [f"missing: {key}" for key in QUEUE if key not in queue]:
        return missing
    columns = (dim, queue["img_queue"].shape[-1])
    problems = [
        f"shape: {key} is {tuple(queue[key].shape)}, expected {shape}"
        for key, shape in zip(QUEUE, [columns, columns, (1,), (1,)], strict=True)
        if queue[key].shape != shape
    ]
    if not problems and queue["img_queue_ptr"] != queue["text_queue_ptr"]:
        problems.append(
            "the queues are not filled in lockstep: "
            f"img_queue_ptr {queue['img_queue_ptr'].item()}, text_queue_ptr {queue['text_queue_ptr'].item()}"
        )
    return problems


def _convert_queue(queue: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the queue as rows; the original has columns, and no groups."""
    images, texts, position, _ = (queue[key] for key in QUEUE)
    return {
        "queue.image_keys": images.T,
        "queue.text_keys": texts.T,
        "queue.group_ids": torch.full((images.shape[1],), NO_GROUP),
        "queue.position": position.long().squeeze(),
    }


__all__ = ["ConvertedCheckpoint", "convert_original_checkpoint", "convert_tower"]
