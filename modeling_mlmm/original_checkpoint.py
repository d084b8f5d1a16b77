"""State dicts of UC2, UNITER and XLM-R under MLMM's names.

The three share their encoder's names; they differ in the prefix (`roberta.`, `uniter.`, in older files `bert.`, or
none), in the token types and in the MLM head. UC2's `vis_cls.*` predicts label words from regions, a task that MLMM
does not have: it is left out without a word. So are position ids, and copies of weights that are tied.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .configuration_mlmm import MLMMConfig
from .modeling_mlmm import HEADS, MLMMPreTrainedModel
from .retrieval import MLMMForImageTextRetrieval

PREFIX = re.compile(r"^(?:module\.)?(?:roberta|uniter|bert)\.")
TRUNK = ("text_embeddings.", "region_embeddings.", "encoder.", "pooler.")
RENAMES = (
    (re.compile(r"\.gamma$"), ".weight"),  # files older than transformers
    (re.compile(r"\.beta$"), ".bias"),
    (re.compile(r"^embeddings\.(?:new_)?token_type_embeddings\."), "text_embeddings.token_type_embeddings."),
    (re.compile(r"^embeddings\.LayerNorm\."), "text_embeddings.norm."),
    (re.compile(r"^embeddings\."), "text_embeddings."),
    (re.compile(r"^img_embeddings\.img_linear\."), "region_embeddings.feature_projection."),
    (re.compile(r"^img_embeddings\.img_layer_norm\."), "region_embeddings.feature_norm."),
    (re.compile(r"^img_embeddings\.pos_linear\."), "region_embeddings.box_projection."),
    (re.compile(r"^img_embeddings\.pos_layer_norm\."), "region_embeddings.box_norm."),
    (re.compile(r"^img_embeddings\.LayerNorm\."), "region_embeddings.norm."),
    (re.compile(r"^img_embeddings\.mask_embedding\.weight$"), "region_embeddings.mask_feature"),
    (re.compile(r"^(?:cls\.predictions\.transform|cls|lm_head)\.dense\."), "mlm_head.transform.dense."),
    (re.compile(r"^cls\.predictions\.transform\.LayerNorm\."), "mlm_head.transform.norm."),
    (re.compile(r"^(?:cls|lm_head)\.layer_norm\."), "mlm_head.transform.norm."),
    (re.compile(r"^(?:cls\.predictions|cls|lm_head)\.(?:decoder\.)?bias$"), "mlm_head.decoder.bias"),
    (re.compile(r"^(?:cls\.predictions|cls|lm_head)\.decoder\.weight$"), "mlm_head.decoder.weight"),
    (re.compile(r"^feat_regress\.net\.0\."), "mrfr_head.transform.dense."),
    (re.compile(r"^feat_regress\.net\.2\."), "mrfr_head.transform.norm."),
    (re.compile(r"^feat_regress\.bias$"), "mrfr_head.bias"),
    (re.compile(r"^region_classifier\.net\.0\."), "mrc_head.transform.dense."),
    (re.compile(r"^region_classifier\.net\.2\."), "mrc_head.transform.norm."),
    (re.compile(r"^region_classifier\.net\.3\."), "mrc_head.classifier."),
    (re.compile(r"^(itm|rank)_output\."), r"\1_head."),
    (re.compile(r"^vqa_output\.0\."), "vqa_head.transform.dense."),
    (re.compile(r"^vqa_output\.2\."), "vqa_head.transform.norm."),
    (re.compile(r"^vqa_output\.3\."), "vqa_head.classifier."),
)
NOT_OURS = re.compile(r"^vis_cls\.|\.position_ids$")
# a copy of a tied weight -> what it must equal
TIED = {
    "mlm_head.decoder.weight": "text_embeddings.word_embeddings.weight",
    "feat_regress.weight": "region_embeddings.feature_projection.weight",
}


GREATEST_DISTANCE = 1e-3  # of a copy from the weight it is tied to, as after rounding to half precision


@dataclass
class LoadedOriginal:
    """Report of `load_original_checkpoint`.

    Attributes:
        family: "uc2", "uniter" or "xlm-r".
        new: weights of the model that the checkpoint does not have; they stay as they were.
        unused: keys of the checkpoint for which the model has no head.
        unknown: keys that belong to no part of MLMM.
        untied: keys of left-out copies that are not quite equal to their weight, and the greatest difference.
    """

    family: str
    new: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    untied: dict[str, float] = field(default_factory=dict)


def original_family(checkpoint: Mapping[str, object]) -> str:
    """Return "uc2", "uniter" or "xlm-r", by the keys.

    Raises:
        ValueError: for a checkpoint of none of them.
    """
    names = {PREFIX.sub("", key) for key in checkpoint}
    if "embeddings.word_embeddings.weight" not in names:
        raise ValueError(
            "no checkpoint of UC2, UNITER or XLM-R: it lacks embeddings.word_embeddings.weight; "
            f"the first of its {len(checkpoint)} keys: {', '.join(list(map(str, checkpoint))[:5]) or 'none'}."
        )
    if "embeddings.new_token_type_embeddings.weight" in names:
        return "uc2"
    return "uniter" if "img_embeddings.img_linear.weight" in names else "xlm-r"


def config_of_original(checkpoint: Mapping[str, object], **overrides: Any) -> MLMMConfig:
    """Return the configuration that fits a checkpoint: sizes by its shapes, epsilons and positions by its family.

    The number of attention heads is in no shape: 64 numbers a head, as in the published sizes, unless `overrides` say.
    """
    family = original_family(checkpoint)
    state = _rename(checkpoint)[0]
    shape = {name: tuple(tensor.shape) for name, tensor in state.items()}
    hidden_size = shape["text_embeddings.word_embeddings.weight"][1]
    layers = {int(name.split(".")[2]) for name in shape if name.startswith("encoder.layer.")}
    values: dict[str, Any] = {
        "vocab_size": shape["text_embeddings.word_embeddings.weight"][0],
        "hidden_size": hidden_size,
        "num_hidden_layers": max(layers, default=-1) + 1,
        "num_attention_heads": max(hidden_size // 64, 1),
        "intermediate_size": shape["encoder.layer.0.intermediate.dense.weight"][0],
        "max_position_embeddings": shape["text_embeddings.position_embeddings.weight"][0],
    }
    for field_name, name, axis in (
        ("region_feature_dim", "region_embeddings.feature_projection.weight", 1),
        ("region_box_dim", "region_embeddings.box_projection.weight", 1),
        ("num_region_classes", "mrc_head.classifier.bias", 0),
        ("num_labels", "vqa_head.classifier.bias", 0),
    ):
        if name in shape:
            values[field_name] = shape[name][axis]
    if family == "uniter":  # BERT's vocabulary: [PAD] 0, [CLS] 101, [SEP] 102; positions from 0
        values |= {"pad_token_id": 0, "bos_token_id": 101, "eos_token_id": 102, "position_offset": 0}
        values |= {"layer_norm_eps": 1e-12, "encoder_layer_norm_eps": 1e-12}
    elif family == "uc2":
        values |= {"layer_norm_eps": 1e-5, "encoder_layer_norm_eps": 1e-12}
    return MLMMConfig(**(values | overrides))


@torch.no_grad()
def load_original_checkpoint(model: MLMMPreTrainedModel, checkpoint: Mapping[str, object]) -> LoadedOriginal:
    """Load the weights of an original checkpoint into an MLMM model of any class; return what found no place.

    XLM-R has one token type: both of ours, text and region, start as it, so that a text alone gives XLM-R's states.
    A rank head that is new starts as the matching row of the ITM head. Half precision becomes the model's.

    Raises:
        ValueError: for no such checkpoint, entries that are no tensors or come twice with different values, weights of
            the tower that are missing (the region part may be, from XLM-R), and other shapes than the model's: one
            message with a line for each.
    """
    family = original_family(checkpoint)
    expected = model.state_dict()
    prefix = "" if model.base_model is model else f"{model.base_model_prefix}."
    renamed, keys, unknown, untied, problems = _rename(checkpoint)
    unused = [keys[name] for name in renamed if not name.startswith(TRUNK) and name not in expected]
    state = {
        f"{prefix}{name}" if name.startswith(TRUNK) else name: tensor
        for name, tensor in renamed.items()
        if keys[name] not in unused
    }
    tied = set(getattr(model, "all_tied_weights_keys", {}))
    new = [name for name in expected if name not in state and name not in tied]
    may_lack = ("region_embeddings.", "pooler.") if family == "xlm-r" else ()
    for name in new:
        inner = name.removeprefix(prefix)
        if inner.startswith(TRUNK) and not inner.startswith(may_lack):
            problems.append(f"missing: {name}")
    for name, tensor in state.items():
        if name not in expected:
            problems.append(f"not in the model: {name} {tuple(tensor.shape)}")
        elif tensor.shape != expected[name].shape:
            problems.append(f"shape: {name} is {tuple(tensor.shape)}, the model has {tuple(expected[name].shape)}")
    if problems:
        raise ValueError("\n  ".join(["the checkpoint does not fit the model:", *sorted(problems)]))
    model.load_state_dict(state, strict=False)
    if isinstance(model, MLMMForImageTextRetrieval) and "rank_head.weight" in new and "itm_head.weight" in state:
        model.start_rank_head()
        new = [name for name in new if not name.startswith("rank_head.")]
    return LoadedOriginal(family, new, unused, unknown, untied)


def _rename(
    checkpoint: Mapping[str, object],
) -> tuple[dict[str, Tensor], dict[str, str], list[str], dict[str, float], list[str]]:
    """Return the weights under our names without tied copies, their keys, the unknown keys, copies that differ a little
    with their distance, and what is wrong."""
    state: dict[str, Tensor] = {}
    keys: dict[str, str] = {}
    copies: list[tuple[str, str, str, Tensor]] = []  # (key, name of the weight, what is wrong if they differ, copy)
    untied: dict[str, float] = {}
    unknown, problems = [], []
    for key, tensor in checkpoint.items():
        name = PREFIX.sub("", key).removeprefix("module.")
        if NOT_OURS.search(name):
            continue
        if not isinstance(tensor, Tensor):
            problems.append(f"no tensor: {key}")
            continue
        for pattern, replacement in RENAMES:
            name = pattern.sub(replacement, name)
        if name in TIED:
            copies.append((key, TIED[name], f"not tied: {key} differs from {TIED[name]}", tensor))
        elif not name.startswith((*TRUNK, *HEADS)):
            unknown.append(key)
        elif name in state:
            copies.append((key, name, f"twice, and not equal: {keys[name]} and {key} differ", tensor))
        else:
            state[name], keys[name] = _convert(name, tensor), key
    for key, name, problem, copy in copies:
        distance = _distance(state.get(name), copy)
        if not distance <= GREATEST_DISTANCE:
            problems.append(f"{problem} by {distance:.1e}")
        elif distance:
            untied[key] = distance
    return state, keys, unknown, untied, problems


def _distance(weight: Tensor | None, copy: Tensor) -> float:
    if weight is None or weight.shape != copy.shape:
        return float("inf")
    return 0.0 if torch.equal(weight, copy) else (weight.float() - copy.float()).abs().max().item()


def _convert(name: str, tensor: Tensor) -> Tensor:
    if name == "region_embeddings.mask_feature":
        return tensor[1]  # row 0, "not masked", is always zero
    if name == "text_embeddings.token_type_embeddings.weight" and len(tensor) == 1:
        return tensor.repeat(2, 1)
    return tensor


__all__ = ["LoadedOriginal", "config_of_original", "load_original_checkpoint", "original_family"]
