"""An MLMM that answers questions, and its answer vocabulary: from a pre-trained MLMM, or one that has answers."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ...data.files.model_folder import open_pretrained
from ...data.vqa.dataset import QuestionFile
from ...modeling_mlmm.configuration_mlmm import MLMMConfig
from ...modeling_mlmm.vqa import MLMMForVisualQuestionAnswering
from .arguments import QuestionArguments
from .targets import choose_answers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def has_answers(config: MLMMConfig) -> bool:
    """Return True if it is the configuration of an MLMM for questions."""
    return MLMMForVisualQuestionAnswering.__name__ in (config.architectures or ())


def resolve_answers(
    folder: str, args: QuestionArguments, train: Sequence[QuestionFile], *, predict_only: bool = False
) -> list[str]:
    """Return the answer vocabulary: that of an MLMM for questions which is trained further, or that of the data.

    Raises:
        ValueError: they do not fit those of the MLMM, or there are none; it has none and `predict_only` is set.
    """
    config = open_pretrained(MLMMConfig, folder)
    if not has_answers(config):
        if predict_only:
            raise ValueError(f"{folder} is not for questions: predict_only takes a folder that finetune-vqa wrote.")
        return choose_answers(args, train)
    own = [config.id2label[number] for number in range(config.num_labels)]
    is_named = not all(re.fullmatch(r"LABEL_\d+", name) for name in own)
    if not args.answers:
        if not is_named:
            raise ValueError(f"{folder} has {len(own)} answers without names: give its own list as `answers`.")
        return own
    given = choose_answers(args, train)
    if len(given) != len(own):
        raise ValueError(
            f"{', '.join(args.answers)} has {len(given)} answers and the head of {folder} {len(own)}: leave `answers` "
            "out to go on with its own, or give the pre-trained MLMM as init_from."
        )
    if is_named and given != own:
        number = next(number for number, pair in enumerate(zip(given, own, strict=True)) if pair[0] != pair[1])
        raise ValueError(
            f"Answer {number} is {given[number]!r} in {', '.join(args.answers)} and {own[number]!r} in {folder}: leave "
            "`answers` out to go on with its own."
        )
    return given


def build_vqa_model(
    folder: str,
    answers: Sequence[str],
    targets: Sequence[Mapping[int, float]] = (),
    tokenizer: "PreTrainedTokenizerBase | None" = None,
) -> MLMMForVisualQuestionAnswering:
    """Return the MLMM with a head for these answers.

    Args:
        folder: of the MLMM to start from, or its hub id.
        answers: the vocabulary.
        targets: answer number -> score of the training questions. With them a new head starts from the frequencies of
            answers, so that a short run need not learn them.
        tokenizer: with it the answers of a new head start from what the MLMM knows of their words.
    """
    numbers = {answer: number for number, answer in enumerate(answers)}
    names: dict[str, Any] = {"id2label": dict(enumerate(answers)), "label2id": numbers}
    is_new = not has_answers(open_pretrained(MLMMConfig, folder))
    model = open_pretrained(MLMMForVisualQuestionAnswering, folder, dtype=torch.float32, **names)
    classifier = model.vqa_head.classifier
    with torch.no_grad():
        if targets and is_new:
            classifier.bias.copy_(log_odds(targets, len(answers)))
        if tokenizer is not None and is_new:
            embeddings = model.get_input_embeddings()
            assert isinstance(embeddings, nn.Embedding)  # of word pieces
            words = embed_answers(embeddings.weight, answers, tokenizer)
            classifier.weight[:, : words.shape[1]] = words * classifier.weight.std()
    return model


def embed_answers(
    embeddings: torch.Tensor, answers: Sequence[str], tokenizer: "PreTrainedTokenizerBase"
) -> torch.Tensor:
    """Return (a, h) mean embeddings of the pieces of each answer, less their mean, with a standard deviation of 1."""
    pieces = tokenizer(list(answers), add_special_tokens=False, verbose=False)["input_ids"]
    means = torch.stack([embeddings[ids or [tokenizer.unk_token_id]].mean(dim=0) for ids in pieces])
    return (means - means.mean(dim=0)) / means.std(dim=0).square().mean().sqrt()


def log_odds(targets: Sequence[Mapping[int, float]], num_answers: int) -> torch.Tensor:
    """Return (a,) the log odds of each answer's mean score, which is kept within 0.0001 and 0.99."""
    sums = torch.zeros(num_answers)
    for target in targets:
        for number, score in target.items():
            sums[number] += score
    return (sums / len(targets)).clamp(1e-4, 0.99).logit()


__all__ = ["build_vqa_model", "embed_answers", "has_answers", "log_odds", "resolve_answers"]
