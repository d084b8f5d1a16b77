"""Convert a checkpoint of UC2, UNITER or XLM-R to an MLMM folder that `AutoModel.from_pretrained` opens.

    wenlan convert mlmm --checkpoint uc2/best.pt --tokenizer xlm-roberta-base --output uc2
    wenlan convert mlmm --checkpoint uniter-vqa.pt --answers ans2label.json --tokenizer bert-base-cased --output vqa
    wenlan convert mlmm --checkpoint xlm-roberta-base/model.safetensors --tokenizer xlm-roberta-base --output start

The result computes what the original computes, its LayerNorm epsilons included. What the original lacks starts new: of
XLM-R, which has never seen an image, that is the whole region part.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoProcessor, AutoTokenizer, PreTrainedTokenizerBase

from ..data.files.bounded import read_bounded_text
from ..data.files.checkpoint import read_checkpoint, unwrap_weights
from ..data.files.json_files import read_json
from ..data.files.model_folder import open_pretrained
from ..modeling_mlmm.configuration_mlmm import XLM_R_FIELDS, MLMMConfig
from ..modeling_mlmm.modeling_mlmm import MLMMModel, MLMMPreTrainedModel
from ..modeling_mlmm.original_checkpoint import (
    LoadedOriginal,
    config_of_original,
    load_original_checkpoint,
    original_family,
)
from ..modeling_mlmm.pretraining import MLMMForPreTraining
from ..modeling_mlmm.retrieval import MLMMForImageTextRetrieval
from ..modeling_mlmm.vqa import MLMMForVisualQuestionAnswering
from ..modeling_region_detector.configuration_region_detector import RegionDetectorConfig
from ..processing.processing_mlmm import MLMMProcessor
from .folder import check_vocabulary, name_file, refuse_existing, write_folder

LAYOUTS = ("uc2", "uniter", "xlm-r")
TOKENIZERS = {
    "uc2": "FacebookAI/xlm-roberta-base",
    "uniter": "google-bert/bert-base-cased",
    "xlm-r": "FacebookAI/xlm-roberta-base",
}
PUBLISHED = {768: (12, 12), 1024: (24, 16)}  # width -> layers and attention heads
HEADS = {
    "pretraining": MLMMForPreTraining,
    "vqa": MLMMForVisualQuestionAnswering,
    "retrieval": MLMMForImageTextRetrieval,
    "none": MLMMModel,
}


def state_dict_of(checkpoint: Mapping[str, object], layout: str | None) -> tuple[dict[str, Tensor], str]:
    """Return the weights in a checkpoint without what lies beside them, and their layout.

    Raises:
        ValueError: for a checkpoint of another layout than given, or of none that is known.
    """
    if layout is not None and layout not in LAYOUTS:
        raise ValueError(f"There is no layout {layout!r}: it must be one of {', '.join(LAYOUTS)}.")
    weights = {str(key): value for key, value in unwrap_weights(checkpoint).items() if isinstance(value, Tensor)}
    family = original_family(weights)
    if layout not in (None, family):
        raise ValueError(f"it has the layout {family}, by its keys, not {layout}.")
    return weights, family


def choose_head(weights: Mapping[str, object], head: str | None) -> str:
    """Return the head that is asked for, or the one that the checkpoint was trained for last.

    Raises:
        ValueError: for an unknown head, or "vqa" where the checkpoint has no answers.
    """
    has_answers = any("vqa_output." in key for key in weights)
    if head is None:
        return "vqa" if has_answers else "retrieval" if any("rank_output." in key for key in weights) else "pretraining"
    if head not in HEADS:
        raise ValueError(f"There is no head {head!r}: it must be one of {', '.join(HEADS)}.")
    if head == "vqa" and not has_answers:
        raise ValueError("it has no vqa_output, so nothing to answer questions with: fine-tune it first.")
    return head


def read_answers(path: Path, count: int) -> list[str]:
    """Return the answers in the order of their ids.

    Args:
        path: JSON, either {answer: id} as UC2 and UNITER have it (ans2label.json) or a list; or text, one a line.
        count: how many the checkpoint has.

    Raises:
        FileNotFoundError: for no such file.
        ValueError: for another number of answers, ids that are not 0 to count - 1, empty or repeated answers.
    """
    if not path.exists():
        raise FileNotFoundError(f"No such file of answers: {path}")
    try:
        found: Any = read_json(path) if path.suffix == ".json" else read_bounded_text(path).strip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} cannot be read as answers: {error}") from error
    if isinstance(found, dict):
        if sorted(map(str, found.values())) != sorted(map(str, range(len(found)))):
            raise ValueError(f"{path}: the ids of its {len(found)} answers are not 0 to {len(found) - 1}, each once.")
        found = sorted(found, key=lambda answer: int(found[answer]))
    if not isinstance(found, list):
        raise ValueError(f"{path} cannot be read as answers: it holds a {type(found).__name__}, no list.")
    answers = [str(answer).strip() for answer in found]
    if len(answers) != count:
        raise ValueError(f"{path} has {len(answers)} answers, the checkpoint {count}.")
    if not all(answers) or len(set(answers)) != count:
        odd = next(answer for answer in answers if not answer or answers.count(answer) > 1)
        raise ValueError(f"{path}: the answer {odd!r} is empty or there more than once.")
    return answers


def load_tokenizer(source: str | Path | None, layout: str, vocab_size: int) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a folder or hub id, else the one on the hub that the original uses.

    Raises:
        OSError: when there is none.
        ValueError: for a vocabulary that is not the one of the embeddings.
    """
    name = str(source or TOKENIZERS[layout])
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except OSError as error:
        raise OSError(f"No tokenizer could be loaded from {name}: pass --tokenizer FOLDER. ({error})") from error
    check_vocabulary(tokenizer, vocab_size, source=name, option="--tokenizer")
    return tokenizer


def build_config(
    weights: Mapping[str, object],
    tokenizer: PreTrainedTokenizerBase,
    overrides: Mapping[str, object],
    answers: list[str] | None,
) -> MLMMConfig:
    """Return the configuration of a checkpoint with the tokenizer's special ids and the names of the answers.

    Raises:
        ValueError: the tokenizer pads with another id than the original, or the sizes are those of `_check_sizes`.
    """
    named = {}
    if answers is not None:
        named = {"id2label": dict(enumerate(answers)), "label2id": {name: index for index, name in enumerate(answers)}}
    config = config_of_original(weights, **{**named, **overrides})
    _check_sizes(config, overrides)
    if tokenizer.pad_token_id != config.pad_token_id:
        raise ValueError(
            f"The tokenizer pads with the id {tokenizer.pad_token_id}, the checkpoint with {config.pad_token_id}: "
            "give the one it was trained with, --tokenizer."
        )
    for name, other in (("bos_token_id", "cls_token_id"), ("eos_token_id", "sep_token_id")):
        value = getattr(tokenizer, name)
        setattr(config, name, getattr(tokenizer, other) if value is None else value)
    return config


def _check_sizes(config: MLMMConfig, given: Mapping[str, object]) -> None:
    """Raise ValueError where a checkpoint cannot tell its number of heads, or has not as many layers as others have."""
    width, layers = config.hidden_size, config.num_hidden_layers
    if width not in PUBLISHED and "num_attention_heads" not in given:
        raise ValueError(
            f"its weights do not tell the number of attention heads at a width of {width}: give "
            '--config FILE with {"num_attention_heads": N}, as it was trained with.'
        )
    if width in PUBLISHED and layers != PUBLISHED[width][0] and "num_hidden_layers" not in given:
        raise ValueError(
            f"it has {layers} layers, models of width {width} have {PUBLISHED[width][0]}: if none is missing, give "
            f'--config FILE with {{"num_hidden_layers": {layers}}}.'
        )


def read_overrides(path: Path | None) -> dict[str, object]:
    """Return the fields of `MLMMConfig` in a JSON file, or in the config.json of an XLM-R; none without a file.

    Raises:
        FileNotFoundError: for no such file.
        ValueError: for something else than a JSON object, or another model's.
    """
    if path is None:
        return {}
    if not path.exists():
        raise FileNotFoundError(f"No such configuration file: {path}")
    values: Any = read_json(path)
    kind = values.pop("model_type", "mlmm") if isinstance(values, dict) else None
    if kind == "xlm-roberta":
        taken = {name: values[name] for name in XLM_R_FIELDS if name in values}
        return taken | ({"encoder_layer_norm_eps": values["layer_norm_eps"]} if "layer_norm_eps" in values else {})
    if kind != "mlmm":
        raise ValueError(f"{path} is no configuration of an MLMM: it must be an object with fields of its config.json.")
    if unknown := sorted(values.keys() - MLMMConfig.__dataclass_fields__.keys()):
        raise ValueError(f"{path} has fields that MLMMConfig has not: {', '.join(unknown)}.")
    return values


def build_processor(config: MLMMConfig, tokenizer: PreTrainedTokenizerBase, detector: str | None) -> MLMMProcessor:
    """Return the processor; texts are cut at 60 word pieces, as in UC2 and UNITER, or where the positions end.

    Raises:
        ValueError: the regions of the detector have another width than the model reads.
    """
    if detector is not None:
        width = open_pretrained(RegionDetectorConfig, detector).feature_dim
        if width != config.region_feature_dim:
            raise ValueError(
                f"The detector in {detector} gives features of {width} numbers, the checkpoint reads "
                f"{config.region_feature_dim}: it was trained on another one."
            )
    longest = config.max_text_length - tokenizer.num_special_tokens_to_add()
    return MLMMProcessor(tokenizer, min(60, longest), config.region_feature_dim, detector)


@torch.inference_mode()
def check_folder(folder: Path, model: MLMMPreTrainedModel) -> None:
    """Open the folder as a user would, compare every weight, and run a made-up example.

    Raises:
        ValueError: the weights are damaged, or not those in memory.
    """
    opened, processor = type(model).from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    state = opened.state_dict()
    for name, tensor in model.state_dict().items():
        if not tensor.isfinite().all():
            raise ValueError(f"the weights are damaged: not all numbers of {name} are finite.")
        if not torch.equal(tensor, state[name]):
            raise ValueError(f"What was saved is not what was converted: {name} differs.")
    features = torch.rand(3, model.config.region_feature_dim, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[0.0, 0, 1, 1], [0.1, 0.2, 0.5, 0.9], [0.6, 0.1, 0.9, 0.4]])
    inputs = processor(text="1 2 3", regions={"features": features, "boxes": boxes})
    expected, found = (one.eval().base_model(**inputs).last_hidden_state for one in (model, opened))
    if not expected.isfinite().all() or not torch.allclose(expected, found, atol=1e-5):
        raise ValueError("What was saved does not compute what was converted.")


def convert_mlmm(
    checkpoint: Path,
    output_dir: Path,
    *,
    layout: str | None = None,
    head: str | None = None,
    tokenizer: str | Path | None = None,
    config_file: Path | None = None,
    answers_file: Path | None = None,
    detector: str | None = None,
) -> Path:
    """Write model, processor and tokenizer of an original checkpoint, check and return the folder.

    Args:
        checkpoint: a file that `read_checkpoint` opens, with a flat state dict, alone or in a dictionary of a trainer.
        output_dir: the folder to write; it must not exist or be empty, and appears only when complete.
        layout: "uc2", "uniter" or "xlm-r", to be sure; None: as its keys say.
        head: "pretraining", "vqa", "retrieval" or "none"; None: the one that it was trained for last.
        tokenizer: folder or hub id; None: the one on the hub that the original uses.
        config_file: JSON with fields of our config.json that are not what the shapes and the layout say:
            num_attention_heads where the width is none of `PUBLISHED`, num_hidden_layers to be sure that none is
            missing. The config.json beside an XLM-R is read anyway.
        answers_file: see `read_answers`; "vqa" needs it.
        detector: folder or hub id of a `RegionDetector`, copied into the folder so that the processor reads images.

    Raises:
        OSError, ValueError: for files that cannot be read or do not fit; nothing is written then.
    """
    refuse_existing(output_dir)
    overrides = read_overrides(config_file)
    beside = checkpoint.with_name("config.json")
    tensors = read_checkpoint(checkpoint)
    with name_file(checkpoint):
        weights, layout = state_dict_of(tensors, layout)
        if layout == "xlm-r" and beside.is_file():  # the file of transformers that belongs to it
            overrides = read_overrides(beside) | overrides
        head, sizes = choose_head(weights, head), config_of_original(weights)
        answers = None
        if head == "vqa":
            if answers_file is None:
                raise ValueError(f"it answers with {sizes.num_labels} numbers; --answers FILE says what they mean.")
            assert sizes.num_labels is not None  # every configuration has labels
            answers = read_answers(answers_file, sizes.num_labels)
        loaded_tokenizer = load_tokenizer(tokenizer, layout, sizes.vocab_size)
        config = build_config(weights, loaded_tokenizer, overrides, answers)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # what starts new is the same every time
            model = HEADS[head](config).eval()
        report = load_original_checkpoint(model, weights)
    processor = build_processor(config, loaded_tokenizer, detector)
    following = {
        "vqa": f"wenlan answer {output_dir} IMAGE --question QUESTION",
        "pretraining": f"wenlan pretrain-mlmm RECIPE, with init_from: {output_dir} in it.",
    }
    return write_folder(
        output_dir,
        model,
        partial(processor.save_pretrained, copy_detector=detector is not None),
        lambda folder: check_folder(folder, model),
        summary=_summary(report, config),
        following=following.get(head),
    )


def _summary(report: LoadedOriginal, config: MLMMConfig) -> list[str]:
    lines = [f" of the layout {report.family}, checked: opened again, it has the same weights and computes the same."]
    lines += [f"It has {config.num_hidden_layers} layers of {config.num_attention_heads} attention heads."]
    kinds = {
        "Starts new, not in the checkpoint": report.new,
        "Left out, heads that this model has not": report.unused,
        "Left out, of no part of MLMM": report.unknown,
        "Left out, copies that differ from their weight": [
            f"{key} (by {distance:.1e})" for key, distance in report.untied.items()
        ],
    }
    return lines + [f"{what}: {', '.join(names)}." for what, names in kinds.items() if names]


__all__ = ["HEADS", "LAYOUTS", "build_processor", "check_folder", "convert_mlmm", "read_answers", "read_overrides"]
