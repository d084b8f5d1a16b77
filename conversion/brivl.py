"""Convert a checkpoint of the original BriVL code to a folder that `AutoModel.from_pretrained` opens.

    wenlan convert brivl --checkpoint brivl-nmi.pth --variant nmi --text-config chinese-roberta-wwm-ext --output nmi
    wenlan convert brivl --checkpoint VL_model.pth --variant 1.0 --with-momentum --output brivl-1.0-pretraining

The result computes what the original computes, its peculiarities included: no antialiasing, stretched boxes, texts
padded to the greatest length and a BERT that attends to the padding.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForPreTraining,
    AutoProcessor,
    AutoTokenizer,
    BertConfig,
    BertTokenizer,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
)

from ..data.files.checkpoint import read_checkpoint, unwrap_weights
from ..modeling_brivl.configuration_brivl import BriVLConfig
from ..modeling_brivl.modeling_brivl import BriVLModel
from ..modeling_brivl.original_checkpoint import ConvertedCheckpoint, convert_original_checkpoint
from ..modeling_brivl.pretraining import BriVLForPreTraining
from ..processing.image_processing_brivl import BriVLImageProcessor
from ..processing.processing_brivl import BriVLProcessor
from .folder import check_vocabulary, list_dropped, name_file, refuse_existing, write_folder
from .original_examples import check_examples, read_examples

TEXT_ENCODER = "hfl/chinese-roberta-wwm-ext"
VARIANTS = ("1.0", "nmi")  # those with released weights
FREEZING = {
    "vision_config": {"trainable_backbone": ["blocks.3", "blocks.4", "blocks.5", "blocks.6"]},
    "text_config": {"trainable_backbone": ["layer.8", "layer.9", "layer.10", "layer.11"]},
}
SENTENCE = "一张用来检查的图片"


def build_config(
    variant: str | None,
    config_file: Path | None,
    text_folder: Path | None,
    *,
    with_momentum: bool,
    max_text_length: int | None = None,
) -> BriVLConfig:
    """Return the configuration of a variant or of a file, with the text encoder of a folder if that has a config.json.

    With momentum, batch norms train as in the original, also those whose weights are frozen.

    Raises:
        ValueError: for no or two sources, a variant without released weights, or a configuration of another model.
    """
    if (variant is None) == (config_file is None):
        raise ValueError(f"Give either --variant ({', '.join(VARIANTS)}) or --config FILE, our config.json.")
    if config_file is not None:
        config = BriVLConfig(**_read_config(config_file, "brivl"))
    elif variant in VARIANTS:
        config = BriVLConfig.from_variant(variant, FREEZING if with_momentum else None)
    else:
        raise ValueError(f"There are released weights of {' and '.join(VARIANTS)}, not of {variant!r}: use --config.")
    if text_folder is not None and (text_folder / "config.json").is_file():
        config.text_config.encoder_config = BertConfig(**_read_config(text_folder / "config.json", "bert"))
    if max_text_length is not None:
        config.text_config.max_text_length = max_text_length
    config.text_config.validate_text_length()
    if with_momentum and config.vision_config.train_batch_norm:
        config.vision_config.train_frozen_batch_norm = True
    return config


def _read_config(path: Path, model_type: str) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"No such configuration file: {path}")
    values, _ = PreTrainedConfig.get_config_dict(path)
    if values.pop("model_type", model_type) != model_type:
        raise ValueError(f"{path} is no configuration of a {model_type} model.")
    return values


def load_tokenizer(text_folder: Path | None, vocab_size: int) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a folder, or of the encoder on the hub that the original starts from.

    Raises:
        OSError: when the hub cannot be reached.
        ValueError: for a vocabulary that is not the one of the embeddings.
    """
    if text_folder is None:
        try:
            tokenizer = AutoTokenizer.from_pretrained(TEXT_ENCODER)
        except OSError as error:
            raise OSError(
                f"The tokenizer {TEXT_ENCODER} could not be fetched from the hub: "
                "pass --text-config FOLDER with its vocab.txt or tokenizer.json."
            ) from error
    elif text_folder.is_dir():
        tokenizer = BertTokenizer.from_pretrained(text_folder)
    else:
        raise FileNotFoundError(f"--text-config must be a folder with vocab.txt or tokenizer.json: {text_folder}")
    check_vocabulary(tokenizer, vocab_size, source=text_folder or TEXT_ENCODER, option="--text-config")
    return tokenizer


def build_model(converted: ConvertedCheckpoint, config: BriVLConfig) -> BriVLModel | BriVLForPreTraining:
    """Return the model with the weights of a checkpoint: for pre-training if that was converted with momentum towers.

    Where the frozen trunks of query and momentum tower differ, `config.share_frozen_trunk` becomes False.
    """
    if not converted.momentum:
        towers = BriVLModel(config)
        towers.load_state_dict(converted.query)
        return towers.eval()
    if converted.queue:
        config.queue_size = len(converted.queue["queue.group_ids"])
        config.validate_objective()
    with torch.device("meta"):
        names = BriVLForPreTraining(config).state_dict().keys()
    momentum, query = converted.momentum, converted.query
    shared = momentum.keys() - names
    if not all(torch.equal(momentum[name], query[name.removeprefix("momentum_")]) for name in shared):
        print("The frozen trunks of query and momentum towers differ, so both are kept: share_frozen_trunk is false.")
        config.share_frozen_trunk = False
        shared = set()
    model = BriVLForPreTraining(config)
    state = {f"brivl.{name}": tensor for name, tensor in query.items()}
    state |= {name: tensor for name, tensor in momentum.items() if name not in shared}
    state |= converted.queue or model.queue.state_dict(prefix="queue.")
    model.load_state_dict(state)
    return model.eval()


def build_processor(config: BriVLConfig, tokenizer: PreTrainedTokenizerBase) -> BriVLProcessor:
    """Return the processor with the original's settings: ImageNet's colours whatever the backbone, no antialiasing."""
    tokenizer.model_max_length = config.text_config.max_text_length
    return BriVLProcessor(
        BriVLImageProcessor(size=config.vision_config.image_size, max_regions=config.vision_config.max_regions),
        tokenizer,
        max_text_length=config.text_config.max_text_length,
        pad_to_max_length=config.text_config.attend_padding,
    )


def check_folder(folder: Path, model: BriVLModel | BriVLForPreTraining, processor: BriVLProcessor) -> None:
    """Open the folder as a user would and embed a made-up pair.

    Raises:
        ValueError: when the embeddings are no finite unit vectors, or not those of the model in memory.
    """
    auto_class = AutoModelForPreTraining if isinstance(model, BriVLForPreTraining) else AutoModel
    expected = _embed_made_up_pair(model, processor)
    opened = _embed_made_up_pair(auto_class.from_pretrained(folder), AutoProcessor.from_pretrained(folder))
    for name, embedding in expected.items():
        if not torch.allclose(embedding.norm(dim=-1), torch.ones(1), atol=1e-4):
            raise ValueError(f"The weights are damaged: {name} of a made-up pair are no finite unit vectors.")
        if not torch.allclose(embedding, opened[name], atol=1e-5):
            raise ValueError(f"What was saved is not what was converted: {name} of a made-up pair differ.")


def _embed_made_up_pair(model: BriVLModel | BriVLForPreTraining, processor: BriVLProcessor) -> dict[str, Tensor]:
    image = Image.fromarray((np.indices((48, 64, 3)).sum(axis=0) * 2).astype(np.uint8))
    with torch.inference_mode():
        output = model(**processor(images=image, text=SENTENCE, return_tensors="pt"))
    return {name: output[name] for name in ("image_embeds", "text_embeds", "image_keys", "text_keys") if name in output}


def convert_brivl(
    checkpoint: Path,
    output_dir: Path,
    *,
    variant: str | None = None,
    config_file: Path | None = None,
    text_folder: Path | None = None,
    with_momentum: bool = False,
    max_text_length: int | None = None,
    examples_repository: Path | None = None,
) -> Path:
    """Write model, processor and tokenizer of an original checkpoint, check and return the folder.

    Args:
        checkpoint: a file that `read_checkpoint` opens, in a layout of `convert_original_checkpoint`.
        output_dir: the folder to write; it must not exist or be empty, and appears only when complete.
        variant: "1.0" or "nmi". Their weights have the same shapes: nothing can tell that the wrong one was given.
        config_file: our config.json instead, for checkpoints of other sizes.
        text_folder: vocabulary of the text encoder, and its config.json, which then goes before that of the variant.
        with_momentum: write a `BriVLForPreTraining` with momentum towers and queue instead of a `BriVLModel`.
        max_text_length: tokens to which texts are padded; None: as the configuration says.
        examples_repository: clone of the authors' repository, with whose features those of the folder are compared.

    Raises:
        OSError, ValueError: for files that cannot be read or do not fit; nothing is written then. ValueError too when
            the examples have other features; the folder is kept then.
    """
    refuse_existing(output_dir)
    if variant == "nmi" and examples_repository is not None:
        raise ValueError("The authors' examples are of the model with detector boxes: --check-examples is for 1.0.")
    examples = None if examples_repository is None else read_examples(examples_repository)
    config = build_config(
        variant, config_file, text_folder, with_momentum=with_momentum, max_text_length=max_text_length
    )
    tokenizer = load_tokenizer(text_folder, config.text_config.encoder_config.vocab_size)
    with torch.device("meta"):
        expected = BriVLModel(config).state_dict()
    tensors = unwrap_weights(read_checkpoint(checkpoint))
    with name_file(checkpoint):
        converted = convert_original_checkpoint(tensors, expected, with_momentum=with_momentum)
    model, processor = build_model(converted, config), build_processor(config, tokenizer)
    write_folder(
        output_dir,
        model,
        processor.save_pretrained,
        lambda folder: check_folder(folder, model, processor),
        summary=_summary(converted, config),
        following=f"wenlan zero-shot {output_dir} IMAGE --labels 猫,狗",
    )
    if examples is not None:
        check_examples(output_dir, examples)
    return output_dir


def _summary(converted: ConvertedCheckpoint, config: BriVLConfig) -> list[str]:
    lines = [", checked: opened again, it embeds the same.", list_dropped(converted.dropped)]
    if converted.momentum:
        pairs = f"of {config.queue_size} pairs" if converted.queue else "not in the checkpoint, starts anew"
        lines.append(f"Momentum towers converted; queue {pairs}.")
    return lines


__all__ = ["build_config", "build_model", "build_processor", "check_folder", "convert_brivl", "load_tokenizer"]
